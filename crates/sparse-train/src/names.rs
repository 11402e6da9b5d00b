//! Names that become part of the name of a file.

use sparse_eval::{Evaluator, EvaluatorConfig};

use crate::error::{Error, Result};
use crate::secret::mask_secrets;

/// Longest name, so that what is put around it fits into the 255 bytes of a file's name.
const LONGEST: usize = 160;

/// Refuses a name that cannot stand in the name of a file; an empty one is left out of it.
fn check_file_name(key: &str, name: &str) -> Result<()> {
    let shown = mask_secrets(name);
    let refuse = |message: String| Err(Error::argument(key, message));
    if let Some(c) = name.chars().find(|c| "/\\".contains(*c) || c.is_control()) {
        let instead: String = shown
            .chars()
            .map(|c| {
                if "/\\".contains(c) || c.is_control() {
                    '-'
                } else {
                    c
                }
            })
            .collect();
        return refuse(format!(
            "= {shown:?} becomes part of the names of files: it must not hold {c:?}; try {instead:?}"
        ));
    }
    if name == "." || name == ".." {
        return refuse(format!("= {shown:?} cannot be part of the name of a file"));
    }
    if name.len() > LONGEST {
        return refuse(format!(
            "becomes part of the names of files: it must not be longer than {LONGEST} bytes; got {}",
            name.len()
        ));
    }
    Ok(())
}

/// Refuses an evaluator of a training file whose name cannot stand in the name of a file, or which has one inside.
pub(crate) fn check_configs(evaluators: &[EvaluatorConfig]) -> Result<()> {
    for (index, evaluator) in evaluators.iter().enumerate() {
        let settings = serde_json::to_value(evaluator).unwrap_or_default();
        check_settings(&format!("evaluator.{index}"), &settings)?;
    }
    Ok(())
}

fn check_settings(key: &str, settings: &serde_json::Value) -> Result<()> {
    if let Some(name) = settings["name"].as_str() {
        check_file_name(&format!("{key}.name"), name)?;
    }
    let inner = settings["evaluators"].as_array().into_iter().flatten();
    for (index, settings) in inner.enumerate() {
        check_settings(&format!("{key}.evaluators.{index}"), settings)?;
    }
    Ok(())
}

/// The same of evaluators that are built.
pub(crate) fn check_evaluators<'a>(
    evaluators: impl IntoIterator<Item = &'a dyn Evaluator>,
) -> Result<()> {
    for (index, evaluator) in evaluators.into_iter().enumerate() {
        check_file_name(&format!("evaluator.{index}.name"), evaluator.name())?;
        check_evaluators(evaluator.children())?;
    }
    Ok(())
}

/// Refuses a name of a data set that cannot stand in the keys of logs and in tables.
pub(crate) fn check_data_set(key: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Error::argument(
            key,
            format!("= {name:?} must not be empty or hold line breaks and the like"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::TrainingFile;

    fn refusal(evaluators: &str) -> String {
        let text = format!("[model]\nname_or_path = \"m\"\n{evaluators}");
        TrainingFile::parse(&text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_no_file_can_have_is_refused() {
        let named = |name: &str| {
            refusal(&format!(
                "[[evaluator]]\ntype = \"information_retrieval\"\nretrieval = \"d\"\nname = {name:?}\n"
            ))
        };
        assert_eq!(
            named("beir/mini"),
            "`evaluator.0.name` = \"beir/mini\" becomes part of the names of files: it must not hold '/'; try \"beir-mini\""
        );
        assert!(named("a\\b").contains("must not hold '\\\\'"));
        assert!(named("a\nb").contains("must not hold '\\n'"));
        assert!(named("..").contains("cannot be part of the name of a file"));
        assert!(named(&"x".repeat(161)).ends_with("longer than 160 bytes; got 161"));
    }

    #[test]
    fn an_evaluator_inside_another_is_looked_at() {
        let message = refusal(
            "[[evaluator]]\ntype = \"sequential\"\n[[evaluator.evaluators]]\ntype = \"information_retrieval\"\nretrieval = \"d\"\n\
             name = \"a/b\"\n",
        );
        assert!(
            message.starts_with("`evaluator.0.evaluators.0.name` = \"a/b\""),
            "{message}"
        );
    }
}
