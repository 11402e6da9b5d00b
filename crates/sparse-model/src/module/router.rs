//! Different modules for different texts: queries one way, documents another.

use std::sync::Arc;

use burn::module::Module;
use serde_json::{Map, Value, json};

use super::{Features, Flow, ModuleKind, PipelineModule, Place, check_flow, run};
use crate::pretrained::{DirectoryWriter, join_inside, read_object, short_class, to_pretty};
use crate::tokenizer::TextTokenizer;
use crate::{Error, ForwardContext, NamedParameter, PackedTokens, Result};

/// Sends a batch along one of its routes, by its task.
#[derive(Module, Debug)]
pub(crate) struct Router {
    /// The modules of all routes, route after route; one that routes share is there once.
    routes: Vec<RouteModules>,
    #[module(skip)]
    routing: Arc<Routing>,
}

/// The modules of one route.
#[derive(Module, Debug)]
struct RouteModules {
    modules: Vec<PipelineModule>,
}

#[derive(Debug, Clone)]
struct Routing {
    /// Name of each route.
    names: Vec<String>,
    default_route: Option<String>,
    allow_empty_key: bool,
    /// As they are saved.
    mappings: Map<String, Value>,
    /// Mappings that a text can take: the task, or any task; whether they name the modality; and the route.
    text_mappings: Vec<(Option<String>, bool, usize)>,
}

impl Router {
    /// One route for queries and one for documents; a text without a task is a document.
    pub(crate) fn for_query_document(
        query: Vec<PipelineModule>,
        document: Vec<PipelineModule>,
    ) -> Self {
        let routing = Routing {
            names: vec!["query".to_string(), "document".to_string()],
            default_route: Some("document".to_string()),
            allow_empty_key: true,
            mappings: Map::new(),
            text_mappings: Vec::new(),
        };
        let routes = vec![
            RouteModules { modules: query },
            RouteModules { modules: document },
        ];
        Self {
            routes,
            routing: Arc::new(routing),
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = ["router_config.json", "config.json"].map(|name| place.directory.join(name));
        let path = path
            .iter()
            .find(|path| path.exists())
            .unwrap_or(&path[0])
            .clone();
        let config = read_object(&path, "it describes the routes")?;
        let object = |key: &str| match config.get(key) {
            Some(Value::Object(entries)) => Ok(entries),
            _ => Err(Error::config(&path, key, "is missing; expected an object")),
        };
        let (types, structure) = (object("types")?, object("structure")?);
        let parameters = config
            .get("parameters")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        if structure.is_empty() {
            return Err(Error::config(
                &path,
                "structure",
                "is empty; expected at least one route",
            ));
        }

        let mut names = Vec::new();
        let mut routes = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (route, listed) in structure {
            let listed = listed
                .as_array()
                .ok_or_else(|| Error::config(&path, route, "is no list of modules"))?;
            let mut modules = Vec::new();
            for (index, name) in listed.iter().enumerate() {
                let name = name.as_str().unwrap_or_default();
                if seen.contains(&name) {
                    return Err(Error::config(
                        &path,
                        route,
                        format!("shares `{name}` with another route, which is not supported"),
                    ));
                }
                seen.push(name);
                let class = types.get(name).and_then(Value::as_str);
                let class = class.ok_or_else(|| {
                    Error::config(&path, "types", format!("does not say what `{name}` is"))
                })?;
                let class = short_class(class, &path)?;
                if class == "Router" || class == "Asym" {
                    return Err(Error::config(&path, route, "holds another router"));
                }
                let directory = join_inside(place.directory, name).ok_or_else(|| {
                    Error::config(
                        &path,
                        route,
                        format!("names `{name}`, outside of the model directory"),
                    )
                })?;
                let owner = format!("{}sub_modules.{route}.{index}.", place.owner);
                let inner = Place {
                    directory: &directory,
                    listing: &path,
                    owner,
                    device: place.device,
                };
                modules.push(PipelineModule::load(class, &inner)?);
            }
            if modules.is_empty() {
                return Err(Error::config(&path, route, "has no modules"));
            }
            check_flow(&modules, &path)?;
            names.push(route.clone());
            routes.push(RouteModules { modules });
        }

        let allow_empty_key = parameters
            .get("allow_empty_key")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let mut default_route = parameters
            .get("default_route")
            .and_then(Value::as_str)
            .map(str::to_string);
        if let Some(route) = &default_route
            && !names.contains(route)
        {
            let known = names.join(", ");
            return Err(Error::config(
                &path,
                "default_route",
                format!("is `{route}`; expected one of {known}"),
            ));
        }
        if default_route.is_none() && allow_empty_key {
            default_route = names.first().cloned();
        }
        let mappings = parameters
            .get("route_mappings")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let mut text_mappings = Vec::new();
        for (key, route) in &mappings {
            let route = route.as_str().unwrap_or_default();
            let Some(index) = names.iter().position(|name| name == route) else {
                return Err(Error::config(
                    &path,
                    "route_mappings",
                    format!("sends {key} to the unknown route `{route}`"),
                ));
            };
            match mapping_key(key) {
                Some((task, Modality::Any)) => text_mappings.push((task, false, index)),
                Some((task, Modality::Text)) => text_mappings.push((task, true, index)),
                Some((_, Modality::Other)) => {}
                None => tracing::warn!(
                    "`{}`: the route mapping {key} can not be read and is skipped",
                    path.display()
                ),
            }
        }
        let routing = Routing {
            names,
            default_route,
            allow_empty_key,
            mappings,
            text_mappings,
        };
        Ok(Self {
            routes,
            routing: Arc::new(routing),
        })
    }

    /// The modules for a task.
    ///
    /// Mappings come first, the more particular before the less; then the route of the task's name, then that of the
    /// modality's. The default route is for texts without a task: it does not rescue an unknown one.
    pub(crate) fn route(&self, task: Option<&str>) -> Result<&[PipelineModule]> {
        let Routing {
            names,
            default_route,
            text_mappings,
            ..
        } = &*self.routing;
        let named =
            |wanted: Option<&str>| names.iter().position(|name| Some(name.as_str()) == wanted);
        let mapped = |task: Option<&str>, with_modality: bool| {
            let found = text_mappings
                .iter()
                .find(|(key, named, _)| key.as_deref() == task && *named == with_modality);
            found.map(|(_, _, index)| *index)
        };
        let own = task.and_then(|_| mapped(task, true).or_else(|| mapped(task, false)));
        let index = own
            .or_else(|| mapped(None, true))
            .or_else(|| mapped(None, false))
            .or_else(|| task.and_then(|_| named(task)))
            .or_else(|| named(Some("text")))
            .or_else(|| {
                if task.is_none() {
                    named(default_route.as_deref())
                } else {
                    None
                }
            });
        match index {
            Some(index) => Ok(&self.routes[index].modules),
            None => Err(Error::UnknownRoute {
                task: task.map(str::to_string),
                routes: names.clone(),
            }),
        }
    }

    pub(crate) fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: Option<&str>,
        task: Option<&str>,
    ) -> Result<PackedTokens> {
        self.route(task)?[0].preprocess(texts, prompt, task)
    }

    pub(crate) fn preprocess_pairs(
        &self,
        pairs: &[(&str, &str)],
        prompt: Option<&str>,
        task: Option<&str>,
    ) -> Result<PackedTokens> {
        self.route(task)?[0].preprocess_pairs(pairs, prompt, task)
    }

    /// # Panics
    ///
    /// If no route takes the tokens' task.
    pub(crate) fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Features {
        match self.route(tokens.task.as_deref()) {
            Ok(modules) => run(modules, tokens, context),
            Err(error) => panic!("{error}"),
        }
    }

    /// What comes out of the first route; a warning if another gives something else.
    pub(crate) fn flow(&self) -> Flow {
        let last = |route: &RouteModules| {
            let flows = check_flow(&route.modules, std::path::Path::new("")).unwrap_or_default();
            flows.last().copied().unwrap_or(Flow::Texts)
        };
        let first = last(&self.routes[0]);
        if self.routes.iter().any(|route| last(route) != first) {
            tracing::warn!("the routes of this model give embeddings of different kinds");
        }
        first
    }

    pub(crate) fn tokenizer(&self) -> Option<&TextTokenizer> {
        self.firsts().find_map(PipelineModule::tokenizer)
    }

    fn firsts(&self) -> impl Iterator<Item = &PipelineModule> {
        self.routes.iter().filter_map(|route| route.modules.first())
    }

    /// The largest of the routes' values.
    pub(crate) fn max_seq_length(&self) -> Option<usize> {
        self.firsts()
            .filter_map(PipelineModule::max_seq_length)
            .max()
    }

    pub(crate) fn set_max_seq_length(&mut self, max_seq_length: usize) -> Result<()> {
        let firsts = self
            .routes
            .iter_mut()
            .filter_map(|route| route.modules.first_mut());
        firsts
            .into_iter()
            .try_for_each(|module| module.set_max_seq_length(max_seq_length))
    }

    /// Every module with its name, `query_0_SparseStaticEmbedding`, and its place in the parameters' names.
    fn named_modules(&self) -> impl Iterator<Item = (String, String, &PipelineModule)> {
        self.routing
            .names
            .iter()
            .zip(&self.routes)
            .flat_map(|(route, modules)| {
                modules
                    .modules
                    .iter()
                    .enumerate()
                    .map(move |(index, module)| {
                        (
                            format!("{route}_{index}_{}", module.directory_name()),
                            format!("sub_modules.{route}.{index}."),
                            module,
                        )
                    })
            })
    }

    /// The modules of all routes.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &PipelineModule> {
        self.routes.iter().flat_map(|route| &route.modules)
    }

    /// The routes, by name.
    pub(crate) fn named_routes(&self) -> impl Iterator<Item = (&str, &[PipelineModule])> {
        self.routing
            .names
            .iter()
            .map(String::as_str)
            .zip(self.routes.iter().map(|route| route.modules.as_slice()))
    }

    pub(crate) fn named_parameters(&self, prefix: &str) -> Vec<NamedParameter> {
        self.named_modules()
            .flat_map(|(_, place, module)| module.named_parameters(&format!("{prefix}{place}")))
            .collect()
    }

    pub(crate) fn printed(&self) -> String {
        let mut text = "Router(\n  (sub_modules): ModuleDict(\n".to_string();
        for (name, modules) in self.named_routes() {
            text.push_str(&format!("    ({name}): Sequential(\n"));
            let flows = check_flow(modules, std::path::Path::new("")).unwrap_or_default();
            for (index, (module, flow)) in modules.iter().zip(flows).enumerate() {
                text.push_str(&format!(
                    "      ({index}): {}\n",
                    module.printed(flow).replace('\n', "\n      ")
                ));
            }
            text.push_str("    )\n");
        }
        text.push_str("  )\n)");
        text
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        let at = |name: &str| {
            if directory.is_empty() {
                name.to_string()
            } else {
                format!("{directory}/{name}")
            }
        };
        let types: Map<String, Value> = self
            .named_modules()
            .map(|(name, _, module)| (name, json!(module.class())))
            .collect();
        let mut structure = Map::new();
        let mut names = self.named_modules().map(|(name, _, _)| name);
        for (route, modules) in self.named_routes() {
            let listed: Vec<String> = names.by_ref().take(modules.len()).collect();
            structure.insert(route.to_string(), json!(listed));
            let flows = check_flow(modules, std::path::Path::new(""))?;
            for ((module, flow), name) in modules.iter().zip(flows).zip(listed) {
                module.save(writer, &at(&name), flow)?;
            }
        }
        let Routing {
            default_route,
            allow_empty_key,
            mappings,
            ..
        } = &*self.routing;
        let config = json!({
            "types": types,
            "structure": structure,
            "parameters": {
                "default_route": default_route,
                "allow_empty_key": allow_empty_key,
                "route_mappings": mappings,
            },
        });
        writer.write(&at("router_config.json"), &to_pretty(&config, 4))
    }

    /// Whether a kind of module is on any route.
    pub(crate) fn has(&self, kind: ModuleKind) -> bool {
        self.modules().any(|module| module.kind() == kind)
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
