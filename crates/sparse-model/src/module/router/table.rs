//! Which route a text takes.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::pretrained::{entry, shortened, warn_of_unknown};
use crate::{Error, Result};

/// The routes by name, each with the positions of its modules, and the rules for choosing among them.
#[derive(Debug, Clone)]
pub(crate) struct RouteTable {
    pub(super) routes: Vec<(String, Vec<usize>)>,
    default_route: Option<String>,
    allow_empty_key: bool,
    /// As they are saved.
    mappings: Map<String, Value>,
    /// Mappings that a text can take.
    text_mappings: Vec<Mapping>,
}

/// A mapping: the task, or any; whether it names the modality; and the route.
#[derive(Debug, Clone)]
struct Mapping {
    task: Option<String>,
    names_modality: bool,
    route: usize,
}

/// A module that a configuration lists: the name of its directory, and its class.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    /// Where it is met first: the route and the place in it.
    pub(super) route: &'a str,
    pub(super) place: usize,
}

impl RouteTable {
    /// One route for queries and one for documents; a text without a task is a document.
    pub(super) fn for_query_document(n_query: usize, n_document: usize) -> Self {
        let query = (0..n_query).collect();
        let document = (n_query..n_query + n_document).collect();
        Self {
            routes: vec![
                ("query".to_string(), query),
                ("document".to_string(), document),
            ],
            default_route: Some("document".to_string()),
            allow_empty_key: true,
            mappings: Map::new(),
            text_mappings: Vec::new(),
        }
    }

    /// Reads `router_config.json`, and lists the modules to load, each once.
    pub(super) fn parse<'a>(
        config: &'a Map<String, Value>,
        path: &Path,
    ) -> Result<(Self, Vec<Listed<'a>>)> {
        let object = |key: &str| match config.get(key) {
            Some(Value::Object(entries)) => Ok(entries),
            _ => Err(Error::config(path, key, "is missing; expected an object")),
        };
        let (types, structure) = (object("types")?, object("structure")?);
        if structure.is_empty() {
            return Err(Error::config(
                path,
                "structure",
                "is empty; expected at least one route",
            ));
        }
        let mut routes = Vec::new();
        let mut modules: Vec<Listed<'a>> = Vec::new();
        for (route, listed) in structure {
            let listed = listed.as_array().filter(|listed| !listed.is_empty());
            let listed =
                listed.ok_or_else(|| Error::config(path, route, "is no list of modules"))?;
            let mut places = Vec::new();
            for (place, name) in listed.iter().enumerate() {
                let name = name.as_str().ok_or_else(|| {
                    let problem = format!("lists {}; expected names of modules", shortened(name));
                    Error::config(path, route, problem)
                })?;
                let class = types.get(name).and_then(Value::as_str).ok_or_else(|| {
                    Error::config(path, "types", format!("does not say what `{name}` is"))
                })?;
                if listed[..place]
                    .iter()
                    .any(|before| before.as_str() == Some(name))
                {
                    let problem = format!("lists the module `{name}` twice");
                    return Err(Error::config(path, route, problem));
                }
                // A module that routes share is there once.
                places.push(
                    modules
                        .iter()
                        .position(|other| other.name == name)
                        .unwrap_or_else(|| {
                            modules.push(Listed {
                                name,
                                class,
                                route,
                                place,
                            });
                            modules.len() - 1
                        }),
                );
            }
            routes.push((route.clone(), places));
        }
        let unused = types
            .keys()
            .find(|name| !modules.iter().any(|module| module.name == *name));
        if let Some(name) = unused {
            tracing::warn!(
                "`{}`: the module `{name}` is on no route and is not loaded",
                path.display()
            );
        }
        let parameters: Option<Map<String, Value>> = entry(config, "parameters", path)?;
        let table = Self {
            routes,
            default_route: None,
            allow_empty_key: true,
            mappings: Map::new(),
            text_mappings: Vec::new(),
        };
        Ok((
            table.with_parameters(&parameters.unwrap_or_default(), path)?,
            modules,
        ))
    }

    fn with_parameters(mut self, parameters: &Map<String, Value>, path: &Path) -> Result<Self> {
        let known = ["default_route", "allow_empty_key", "route_mappings"];
        warn_of_unknown(parameters, &known, path);
        self.allow_empty_key = entry(parameters, "allow_empty_key", path)?.unwrap_or(true);
        self.default_route = entry(parameters, "default_route", path)?;
        if let Some(route) = &self.default_route
            && self.position(route).is_none()
        {
            let problem = format!("is `{route}`; expected one of {}", self.names().join(", "));
            return Err(Error::config(path, "default_route", problem));
        }
        if self.default_route.is_none() && self.allow_empty_key {
            self.default_route = self.names().into_iter().next();
        }
        self.mappings = entry(parameters, "route_mappings", path)?.unwrap_or_default();
        for (key, route) in &self.mappings {
            let route = route.as_str().unwrap_or_default();
            let Some(position) = self.position(route) else {
                let problem = format!("sends {key} to the unknown route `{route}`");
                return Err(Error::config(path, "route_mappings", problem));
            };
            let Some((task, modality)) = mapping_key(key) else {
                tracing::warn!(
                    "`{}`: the route mapping {key} can not be read and is skipped",
                    path.display()
                );
                continue;
            };
            if modality != Modality::Other {
                self.text_mappings.push(Mapping {
                    task,
                    names_modality: modality == Modality::Text,
                    route: position,
                });
            }
        }
        Ok(self)
    }

    fn position(&self, route: &str) -> Option<usize> {
        self.routes.iter().position(|(name, _)| name == route)
    }

    /// The names of the routes.
    pub(super) fn names(&self) -> Vec<String> {
        self.routes.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The route for a task.
    ///
    /// Mappings come first, the more particular before the less; then the route of the task's name, then that of the
    /// modality's. The default route is for texts without a task: it does not rescue an unknown one.
    pub(crate) fn choose(&self, task: Option<&str>) -> Result<usize> {
        let mapped = |task: Option<&str>, names_modality: bool| {
            let mut mappings = self.text_mappings.iter();
            let found = mappings.find(|mapping| {
                mapping.task.as_deref() == task && mapping.names_modality == names_modality
            });
            found.map(|mapping| mapping.route)
        };
        let own = task.and_then(|_| mapped(task, true).or_else(|| mapped(task, false)));
        let default = || self.default_route.as_deref().filter(|_| task.is_none());
        own.or_else(|| mapped(None, true))
            .or_else(|| mapped(None, false))
            .or_else(|| task.and_then(|task| self.position(task)))
            .or_else(|| self.position("text"))
            .or_else(|| default().and_then(|route| self.position(route)))
            .ok_or_else(|| Error::UnknownRoute {
                task: task.map(str::to_string),
                routes: self.names(),
            })
    }

    /// The `parameters` of the configuration.
    pub(super) fn parameters(&self) -> Value {
        json!({
            "default_route": self.default_route,
            "allow_empty_key": self.allow_empty_key,
            "route_mappings": self.mappings,
        })
    }
}

/// The modality that a mapping asks for.
#[derive(Debug, PartialEq)]
enum Modality {
    Any,
    Text,
    /// One that no text has.
    Other,
}

/// Reads a mapping's key, which is a Python tuple: `('query', None)`, `(None, ('image', 'text'))`.
fn mapping_key(key: &str) -> Option<(Option<String>, Modality)> {
    let inner = key.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (task, modality) = inner.split_once(',')?;
    let word = |text: &str| -> Option<Option<String>> {
        let text = text.trim();
        if text == "None" {
            return Some(None);
        }
        let quote = text
            .chars()
            .next()
            .filter(|quote| matches!(quote, '\'' | '"'))?;
        let word = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!word.contains(quote)).then(|| Some(word.to_string()))
    };
    let modality = modality.trim().trim_end_matches(',');
    let modality = if modality.starts_with('(') && modality.ends_with(')') {
        Modality::Other
    } else {
        match word(modality)? {
            None => Modality::Any,
            Some(name) if name == "text" => Modality::Text,
            Some(_) => Modality::Other,
        }
    };
    Some((word(task)?, modality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_keys_are_python_tuples() {
        let query = || Some("query".to_string());
        assert_eq!(
            mapping_key("('query', None)"),
            Some((query(), Modality::Any))
        );
        assert_eq!(
            mapping_key("(\"query\", 'text')"),
            Some((query(), Modality::Text))
        );
        assert_eq!(
            mapping_key("(None, 'image')"),
            Some((None, Modality::Other))
        );
        assert_eq!(
            mapping_key("(None, ('image', 'text'))"),
            Some((None, Modality::Other))
        );
        for broken in ["", "query", "('query')", "(query, None)", "('query', None"] {
            assert_eq!(mapping_key(broken), None, "{broken}");
        }
    }
}
