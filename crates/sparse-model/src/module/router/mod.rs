//! Different modules for different texts: queries one way, documents another.

pub(crate) mod table;

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use serde_json::{Map, Value, json};

pub(crate) use self::table::RouteTable;
use super::{Features, Flow, ModuleKind, PipelineModule, Place, check_flow, run};
use crate::pretrained::{
    DirectoryWriter, is_there, join_inside, read_object, short_class, to_pretty, warn_of_unknown,
};
use crate::tokenizer::TextTokenizer;
use crate::{Error, ForwardContext, NamedParameter, PackedTokens, Preprocessor, Result};

/// Sends a batch along one of its routes, by its task.
#[derive(Module, Debug)]
pub(crate) struct Router {
    /// The modules of all routes; one that routes share is there once.
    modules: Vec<PipelineModule>,
    #[module(skip)]
    table: Arc<RouteTable>,
}

impl Router {
    /// One route for queries and one for documents; a text without a task is a document.
    pub(crate) fn for_query_document(
        query: Vec<PipelineModule>,
        document: Vec<PipelineModule>,
    ) -> Self {
        let table = RouteTable::for_query_document(query.len(), document.len());
        let modules = query.into_iter().chain(document).collect();
        Self {
            modules,
            table: Arc::new(table),
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let newer = place.directory.join("router_config.json");
        let older = place.directory.join("config.json");
        let path = if is_there(&newer)? || !is_there(&older)? {
            newer
        } else {
            older
        };
        let config = read_object(&path, "it describes the routes")?;
        warn_of_unknown(&config, &["types", "structure", "parameters"], &path);
        let (table, listed) = RouteTable::parse(&config, &path)?;
        let mut modules = Vec::new();
        for module in listed {
            let class = short_class(module.class, &path)?;
            if class == "Router" || class == "Asym" {
                return Err(Error::config(&path, module.route, "holds another router"));
            }
            let directory = join_inside(place.directory, module.name).ok_or_else(|| {
                let problem = format!("names `{}`, outside of the model directory", module.name);
                Error::config(&path, module.route, problem)
            })?;
            let inner = Place {
                directory: &directory,
                listing: &path,
                owner: format!(
                    "{}sub_modules.{}.{}.",
                    place.owner, module.route, module.place
                ),
                source: place.source,
                device: place.device,
            };
            modules.push(PipelineModule::load(class, &inner)?);
        }
        let router = Self {
            modules,
            table: Arc::new(table),
        };
        for (_, modules) in router.named_routes() {
            check_flow(modules, &path)?;
        }
        router.warn_of_unlike_routes(&path);
        Ok(router)
    }

    /// The routes, by name.
    pub(crate) fn named_routes(&self) -> impl Iterator<Item = (&str, Vec<&PipelineModule>)> {
        let routes = self.table.routes.iter();
        routes.map(|(name, places)| (name.as_str(), self.modules_at(places)))
    }

    fn modules_at(&self, places: &[usize]) -> Vec<&PipelineModule> {
        places.iter().map(|place| &self.modules[*place]).collect()
    }

    /// The modules for a task.
    pub(crate) fn route(&self, task: Option<&str>) -> Result<Vec<&PipelineModule>> {
        let (_, places) = &self.table.routes[self.table.choose(task)?];
        Ok(self.modules_at(places))
    }

    pub(crate) fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: Option<&str>,
        task: Option<&str>,
    ) -> Result<PackedTokens> {
        self.route(task)?[0].preprocess(texts, prompt, task)
    }

    /// What of the routes' first modules turns texts into tokens.
    pub(crate) fn preprocessor(&self) -> Result<Preprocessor> {
        let routes = self
            .named_routes()
            .map(|(_, modules)| modules[0].preprocessor());
        Ok(Preprocessor::routed(
            Arc::clone(&self.table),
            routes.collect::<Result<_>>()?,
        ))
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

    /// What comes out of the first route.
    pub(crate) fn flow(&self) -> Flow {
        let first = self.flows_of_routes().next();
        first.map_or(Flow::Texts, |(_, flow)| flow)
    }

    /// What comes out of each route.
    fn flows_of_routes(&self) -> impl Iterator<Item = (&str, Flow)> {
        self.named_routes().map(|(name, modules)| {
            let flows = check_flow(modules, Path::new("")).unwrap_or_default();
            (name, flows.last().copied().unwrap_or(Flow::Texts))
        })
    }

    /// Warns of routes whose embeddings can't be compared.
    fn warn_of_unlike_routes(&self, path: &Path) {
        let mut flows = self.flows_of_routes();
        let Some((first, expected)) = flows.next() else {
            return;
        };
        for (route, found) in flows.filter(|(_, flow)| *flow != expected) {
            tracing::warn!(
                "`{}`: route `{route}` gives {found}, route `{first}` {expected}: their embeddings are of different kinds",
                path.display()
            );
        }
    }

    pub(crate) fn tokenizer(&self) -> Option<&TextTokenizer> {
        self.named_routes()
            .find_map(|(_, modules)| modules[0].tokenizer())
    }

    /// The largest of the routes' values.
    pub(crate) fn max_seq_length(&self) -> Option<usize> {
        self.named_routes()
            .filter_map(|(_, modules)| modules[0].max_seq_length())
            .max()
    }

    pub(crate) fn set_max_seq_length(&mut self, max_seq_length: usize) -> Result<()> {
        let firsts: Vec<usize> = self
            .table
            .routes
            .iter()
            .map(|(_, places)| places[0])
            .collect();
        let modules = self.modules.iter_mut().enumerate();
        modules
            .filter(|(place, _)| firsts.contains(place))
            .try_for_each(|(_, module)| module.set_max_seq_length(max_seq_length))
    }

    /// Every module with the route and the place where it is met first.
    fn placed_modules(&self) -> impl Iterator<Item = (&str, usize, &PipelineModule)> {
        self.modules.iter().enumerate().filter_map(|(at, module)| {
            self.table.routes.iter().find_map(|(route, places)| {
                let place = places.iter().position(|place| *place == at)?;
                Some((route.as_str(), place, module))
            })
        })
    }

    pub(crate) fn named_parameters(&self, prefix: &str) -> Vec<NamedParameter> {
        self.placed_modules()
            .flat_map(|(route, place, module)| {
                module.named_parameters(&format!("{prefix}sub_modules.{route}.{place}."))
            })
            .collect()
    }

    /// What decides about vectors: the routes, and which text takes which.
    pub(crate) fn vector_settings(&self) -> Value {
        let routes: Vec<Value> = self
            .named_routes()
            .map(|(name, modules)| {
                let modules = modules.iter().map(|module| module.vector_settings());
                json!([name, modules.collect::<Vec<_>>()])
            })
            .collect();
        json!([routes, self.table.parameters()])
    }

    pub(crate) fn printed(&self) -> String {
        let mut text = "Router(\n  (sub_modules): ModuleDict(\n".to_string();
        for (name, modules) in self.named_routes() {
            text.push_str(&format!("    ({name}): Sequential(\n"));
            let flows = check_flow(modules.clone(), Path::new("")).unwrap_or_default();
            for (index, (module, flow)) in modules.iter().zip(flows).enumerate() {
                let body = module.printed(flow).replace('\n', "\n      ");
                text.push_str(&format!("      ({index}): {body}\n"));
            }
            text.push_str("    )\n");
        }
        text.push_str("  )\n)");
        text
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        let at = |name: &str| match directory {
            "" => name.to_string(),
            directory => format!("{directory}/{name}"),
        };
        let names: Vec<String> = self
            .placed_modules()
            .map(|(route, place, module)| format!("{route}_{place}_{}", module.directory_name()))
            .collect();
        let mut structure = Map::new();
        let mut written = Vec::new();
        for (route, places) in &self.table.routes {
            let listed: Vec<&String> = places.iter().map(|place| &names[*place]).collect();
            structure.insert(route.clone(), json!(listed));
            let flows = check_flow(self.modules_at(places), Path::new(""))?;
            for (place, flow) in places.iter().zip(flows) {
                if !written.contains(place) {
                    self.modules[*place].save(writer, &at(&names[*place]), flow)?;
                    written.push(*place);
                }
            }
        }
        let types: Map<String, Value> = names
            .iter()
            .zip(&self.modules)
            .map(|(name, module)| (name.clone(), json!(module.class())))
            .collect();
        let config = json!({
            "types": types,
            "structure": structure,
            "parameters": self.table.parameters(),
        });
        writer.write(&at("router_config.json"), &to_pretty(&config, 4))
    }

    /// Whether a kind of module is on any route.
    pub(crate) fn has(&self, kind: ModuleKind) -> bool {
        self.modules.iter().any(|module| module.kind() == kind)
    }
}
