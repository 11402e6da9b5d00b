//! From a misspelt name to the one that was meant.

/// The candidate nearest to `name`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Rewrites serde's "unknown field `x`, expected one of `a`, `b`" (or variant) with the nearest name in front of the list.
pub(crate) fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = ["unknown field", "unknown variant"]
        .iter()
        .any(|start| message.starts_with(start));
    let Some((name, candidates)) = quoted.split_first().filter(|_| unknown) else {
        return message.to_owned();
    };
    let kind = if message.starts_with("unknown field") {
        "key"
    } else {
        "value"
    };
    if candidates.is_empty() {
        return format!("unknown {kind} `{name}`");
    }
    let list = candidates.join(", ");
    match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("unknown {kind} `{name}`; did you mean `{near}`? Known: {list}"),
        None => format!("unknown {kind} `{name}`; known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(
            explain("unknown field `lerning_rate`, expected one of `learning_rate`, `seed`"),
            "unknown key `lerning_rate`; did you mean `learning_rate`? Known: learning_rate, seed"
        );
        assert_eq!(
            explain("unknown variant `x`, expected `max` or `sum`"),
            "unknown value `x`; known: max, sum"
        );
        assert_eq!(explain("invalid type: string"), "invalid type: string");
    }
}
