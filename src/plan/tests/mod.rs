mod bases;
mod config;
mod copies;
mod graph;
mod mounts;
mod random;
mod rendered;
mod runs;
mod variables;

use std::collections::BTreeMap;

use super::*;
use crate::dockerfile::instruction::{Dockerfile, Sharing};
use crate::image::RuntimeConfig;
use crate::image::{ImageConfig, Platform};

/// A Dockerfile with what else a plan depends on.
struct Case {
    dockerfile: String,
    build_args: BTreeMap<String, String>,
    target: Option<&'static str>,
    platform: Option<&'static str>,
    labels: Vec<(String, String)>,
    named_contexts: BTreeMap<String, NamedContext>,
    images: BTreeMap<ImageRequest, ImageConfig>,
    selection: StageSelection,
}

fn case(dockerfile: &str) -> Case {
    Case {
        dockerfile: dockerfile.to_owned(),
        build_args: BTreeMap::new(),
        target: None,
        platform: None,
        labels: Vec::new(),
        named_contexts: BTreeMap::new(),
        images: BTreeMap::new(),
        selection: StageSelection::Needed,
    }
}

impl Case {
    fn build_arg(mut self, name: &str, value: &str) -> Self {
        self.build_args.insert(name.to_owned(), value.to_owned());
        self
    }

    fn target(self, target: &'static str) -> Self {
        Self { target: Some(target), ..self }
    }

    fn platform(self, platform: &'static str) -> Self {
        Self { platform: Some(platform), ..self }
    }

    fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    fn named_context(mut self, name: &str, context: NamedContext) -> Self {
        self.named_contexts.insert(name.to_owned(), context);
        self
    }

    /// Gives an image of linux/amd64 the config written as JSON.
    fn image(self, reference: &str, config: &str) -> Self {
        self.image_for(reference, "linux/amd64", config)
    }

    fn image_for(mut self, reference: &str, platform: &str, config: &str) -> Self {
        let request = request(reference, platform);
        self.images.insert(request, serde_json::from_str(config).unwrap());
        self
    }

    fn with_inputs<T>(&self, use_them: impl FnOnce(&Dockerfile, &PlanInputs<'_>) -> T) -> T {
        let dockerfile = crate::dockerfile::parse(self.dockerfile.as_bytes()).unwrap();
        let build_platform = Platform::new("linux", "amd64", None);
        let inputs = PlanInputs {
            build_args: &self.build_args,
            target: self.target,
            platform: self.platform,
            build_platform: &build_platform,
            labels: &self.labels,
            named_contexts: &self.named_contexts,
            images: &self.images,
            selection: self.selection,
        };
        use_them(&dockerfile, &inputs)
    }

    fn references(&self) -> Vec<ImageRequest> {
        self.with_inputs(references).unwrap()
    }

    fn unpacked(&self) -> Vec<ImageRequest> {
        self.with_inputs(unpacked).unwrap().into_iter().collect()
    }

    fn plan(&self) -> Plan {
        match self.with_inputs(plan) {
            Ok(plan) => plan,
            Err(error) => panic!("{error}: {:?}\n{}", error.kind, self.dockerfile),
        }
    }

    /// Returns the config of the resulting image.
    fn image_config(&self) -> ImageConfig {
        self.plan().target_stage().unwrap().image.clone()
    }

    fn config(&self) -> RuntimeConfig {
        self.image_config().config
    }

    /// Returns the `created_by` texts of the result, those of bases first.
    fn history(&self) -> Vec<String> {
        self.image_config().history.into_iter().filter_map(|entry| entry.created_by).collect()
    }

    /// Returns the steps of the target.
    fn steps(&self) -> Vec<Step> {
        self.plan().target_stage().unwrap().steps.clone()
    }

    /// Returns the error with its causes, on one line.
    fn error(&self) -> String {
        let error = self.with_inputs(plan).expect_err("an error is expected");
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

fn request(reference: &str, platform: &str) -> ImageRequest {
    let image = ImageName::Reference(reference.to_owned());
    ImageRequest { image, platform: platform.parse().unwrap() }
}

const DEBIAN: &str = "docker.io/library/debian:latest";
