//! The step that an event is about.

/// Names a step in events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index of the stage in the Dockerfile, from 0.
    pub stage: usize,
    /// Number of the step in its stage, from 1.
    pub number: usize,
    /// Steps in the stage.
    pub total: usize,
    /// Line in the Dockerfile, from 1; `None` for a trigger of the base image.
    pub line: Option<u32>,
    /// The instruction as the reader knows it, such as `RUN make`.
    pub text: String,
}
