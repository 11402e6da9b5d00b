//! Runs that upload, against a hub on the loopback address.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use loopback_hub::{Fault, LoopbackHub, READER, WRITER};
use sparse_hub::HubOptions;
use sparse_model::{LoadOptions, SparseEncoder};
use sparse_train::{
    Callback, CallbackContext, HubStrategy, Resume, SaveStrategy, Trainer, TrainerBuilder,
    TrainerControl, TrainingArguments,
};

use crate::support::{arguments, splade_run, weights};

struct Web {
    hub: LoopbackHub,
    folder: tempfile::TempDir,
}

impl Web {
    fn new() -> Self {
        Self {
            hub: LoopbackHub::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions::default()
            .with_endpoint(self.hub.endpoint())
            .with_cache_dir(self.folder.path().join("cache"))
            .with_token(WRITER)
            .with_retries(1, 1)
    }

    /// Twelve steps with checkpoints at 5, 10 and 12, of which two stay.
    fn arguments(&self, strategy: HubStrategy) -> TrainingArguments {
        TrainingArguments {
            max_steps: 12,
            save_strategy: SaveStrategy::Steps,
            save_steps: 5.0,
            save_total_limit: Some(2),
            push_to_hub: true,
            hub_model_id: Some("me/animals".to_owned()),
            hub_strategy: strategy,
            hub_always_push: true,
            ..arguments(&self.folder.path().join("my-run"))
        }
    }

    fn builder(&self, arguments: TrainingArguments) -> TrainerBuilder {
        splade_run(arguments).hub(self.options())
    }

    fn trainer(&self, strategy: HubStrategy) -> Trainer {
        self.builder(self.arguments(strategy)).build().unwrap()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.hub.model_files("me/animals", "main").unwrap()
    }

    fn title(&self) -> String {
        self.hub.last_commit("me/animals", "main").unwrap().0
    }

    fn leftovers(&self) -> Vec<String> {
        fs::read_dir(self.folder.path().join("my-run"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect()
    }
}

/// What a run warned of.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Callback for Warnings {
    fn on_warning(&mut self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn each_strategy_uploads_what_it_says() {
    for (strategy, folders, title) in [
        (HubStrategy::End, &[][..], "initial commit"),
        (HubStrategy::EverySave, &[], "Training in progress, step 12"),
        (
            HubStrategy::Checkpoint,
            &["last-checkpoint"],
            "Training in progress, step 12, checkpoint",
        ),
        (
            HubStrategy::AllCheckpoints,
            &["checkpoint-10", "checkpoint-12", "checkpoint-5"],
            "Training in progress, step 12, checkpoint",
        ),
    ] {
        let web = Web::new();
        let mut trainer = web.trainer(strategy);
        trainer.train().unwrap();
        assert_eq!(web.title(), title);
        let files = web.files();
        let found: std::collections::BTreeSet<&str> = files
            .keys()
            .filter_map(|path| path.split_once('/'))
            .map(|(folder, _)| folder)
            .filter(|folder| *folder != "1_SpladePooling")
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), folders);
        assert_eq!(
            files.contains_key("modules.json"),
            strategy != HubStrategy::End
        );
        assert!(!files.contains_key("optimizer.safetensors"));
        assert!(!files.contains_key("trainer_state.json"));
        for folder in folders {
            assert!(files.contains_key(&format!("{folder}/optimizer.safetensors")));
            assert!(files.contains_key(&format!("{folder}/trainer_state.json")));
        }
        for arguments in files
            .iter()
            .filter(|(path, _)| path.ends_with("training_args.json"))
        {
            assert!(!String::from_utf8_lossy(arguments.1).contains(WRITER));
        }

        let upload = trainer.push_to_hub("End of training").unwrap();
        assert!(upload.url.contains("/me/animals/commit/"), "{}", upload.url);
        assert_eq!(web.title(), "End of training");
        let card = String::from_utf8(web.files()["README.md"].clone()).unwrap();
        assert!(!card.contains("sparse_encoder_model_id"), "{card}");
        let loaded = SparseEncoder::from_pretrained_with(
            "me/animals",
            &LoadOptions {
                hub: web.options(),
                ..LoadOptions::default()
            },
            &Device::flex(),
        )
        .unwrap();
        assert_eq!(weights(&loaded), weights(&trainer.encoder()));
        assert_eq!(web.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_run_goes_on_from_the_checkpoint_on_the_hub() {
    let web = Web::new();
    let mut whole = web.trainer(HubStrategy::AllCheckpoints);
    whole.train().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for (path, bytes) in web.files() {
        if let Some(path) = path.strip_prefix("checkpoint-5/") {
            let target = elsewhere.path().join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }
    let arguments = TrainingArguments {
        push_to_hub: false,
        ..web.arguments(HubStrategy::End)
    };
    let mut resumed = splade_run(arguments).build().unwrap();
    resumed
        .train_from(&Resume::From(elsewhere.path().to_path_buf()))
        .unwrap();
    assert_eq!(weights(&resumed.encoder()), weights(&whole.encoder()));
}

#[derive(Debug, Clone, Default)]
struct Pushes(Arc<Mutex<Vec<usize>>>);

impl Callback for Pushes {
    fn on_push_begin(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.0.lock().unwrap().push(context.state.global_step);
    }
}

#[test]
fn a_checkpoint_is_left_out_while_an_earlier_one_is_on_its_way() {
    let commits = |always| {
        let web = Web::new();
        // The first upload takes longer than the rest of the run.
        let delay = Fault::Delay(std::time::Duration::from_secs(5));
        web.hub.fail("/commit/main", delay, 1);
        let arguments = TrainingArguments {
            hub_always_push: always,
            save_steps: 1.0,
            ..web.arguments(HubStrategy::EverySave)
        };
        let pushes = Pushes::default();
        let mut trainer = web
            .builder(arguments)
            .callback(pushes.clone())
            .build()
            .unwrap();
        trainer.train().unwrap();
        trainer.push_to_hub("End of training").unwrap();
        assert_eq!(web.title(), "End of training");
        let pushes = pushes.0.lock().unwrap().clone();
        assert_eq!(web.hub.count("POST", "/commit/main"), pushes.len());
        pushes
    };
    let all: Vec<usize> = (1..=12).chain([12]).collect();
    assert_eq!(commits(true), all);
    let some = commits(false);
    assert!(some.len() < all.len(), "{some:?}");
    assert_eq!((some.first(), some.last()), (Some(&1), Some(&12)));
}

#[test]
fn failing_uploads_are_warnings_until_the_last() {
    let web = Web::new();
    // More failures than there are attempts, then one attempt that is served, and failures again.
    web.hub.fail("/commit/main", Fault::status(503), 4);
    let warnings = Warnings::default();
    let mut trainer = web
        .builder(web.arguments(HubStrategy::EverySave))
        .callback(warnings.clone())
        .build()
        .unwrap();
    trainer.train().unwrap();
    assert_eq!(web.title(), "Training in progress, step 12");
    {
        let said = warnings.0.lock().unwrap();
        let failed: Vec<_> = said
            .iter()
            .filter(|text| text.contains("an upload failed"))
            .collect();
        assert_eq!(failed.len(), 2, "{said:?}");
        assert!(
            failed[0].contains("step 5") && failed[0].contains("503"),
            "{said:?}"
        );
    }
    let before = web.files();
    web.hub.fail("/commit/main", Fault::status(503), 2);
    let error = trainer.push_to_hub("End of training").unwrap_err();
    assert!(!error.is_user_error(), "{error}");
    // Nothing of it is there; what was saved is still here; and the next attempt works.
    assert!(web.files() == before);
    assert!(
        web.folder
            .path()
            .join("my-run/checkpoint-12/model.safetensors")
            .is_file()
    );
    assert_eq!(web.leftovers(), Vec::<String>::new());
    trainer.push_to_hub("End of training").unwrap();
    assert_eq!(web.title(), "End of training");
}

#[test]
fn who_may_not_write_hears_it_before_the_first_step() {
    let web = Web::new();
    let refusal = |change: &dyn Fn(&mut TrainingArguments), options: HubOptions| {
        let mut arguments = web.arguments(HubStrategy::End);
        change(&mut arguments);
        let mut trainer = splade_run(arguments).hub(options).build().unwrap();
        let error = trainer.train().unwrap_err();
        assert!(error.is_user_error(), "{error}");
        assert_eq!(trainer.state().global_step, 0);
        assert!(!web.folder.path().join("my-run").exists());
        error.to_string()
    };
    let nothing: &dyn Fn(&mut TrainingArguments) = &|_| {};
    let text = refusal(nothing, web.options().with_token(READER));
    assert!(text.contains("permission to write"), "{text}");
    let text = refusal(nothing, web.options().with_token(""));
    assert!(text.contains("it needs a token"), "{text}");
    let text = refusal(nothing, web.options().with_local_files_only(true));
    assert!(text.contains("forbids uploads"), "{text}");
    // The token of the arguments wins.
    let text = refusal(&|a| a.hub_token = Some("hf_wrong".into()), web.options());
    assert!(text.contains("the token is not valid"), "{text}");
    let text = refusal(
        &|a| a.hub_model_id = Some("my run".to_owned()),
        web.options(),
    );
    assert!(
        text.starts_with("`arguments.hub_model_id` must be `owner/name`"),
        "{text}"
    );
}

#[test]
fn the_repository_is_named_after_the_output_directory() {
    let web = Web::new();
    let arguments = TrainingArguments {
        hub_model_id: None,
        hub_private_repo: Some(true),
        hub_revision: Some("trial".to_owned()),
        ..web.arguments(HubStrategy::EverySave)
    };
    let mut trainer = web.builder(arguments).build().unwrap();
    trainer.train().unwrap();
    trainer.push_to_hub("End of training").unwrap();
    assert_eq!(web.hub.is_private("user/my-run"), Some(true));
    assert_eq!(
        web.hub.last_commit("user/my-run", "trial").unwrap().0,
        "End of training"
    );
    // The branch `main` is as it was made.
    assert_eq!(
        web.hub.last_commit("user/my-run", "main").unwrap().0,
        "initial commit"
    );
}

#[test]
fn arguments_of_the_hub_alone_are_warned_of() {
    let warnings = Warnings::default();
    let arguments = TrainingArguments {
        hub_model_id: Some("me/animals".to_owned()),
        ..arguments(Path::new("never-written"))
    };
    splade_run(arguments)
        .callback(warnings.clone())
        .build()
        .unwrap();
    assert_eq!(
        *warnings.0.lock().unwrap(),
        ["`arguments.hub_model_id` has no effect without `push_to_hub = true`"]
    );
}
