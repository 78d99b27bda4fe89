//! Dockerfiles at random: whatever they say, they are planned or refused, and always alike.

use proptest::prelude::*;

use super::*;

/// Lines that fit together often enough to get far.
const LINES: &[&str] = &[
    "FROM scratch",
    "FROM scratch AS a",
    "FROM a AS b",
    "FROM a",
    "FROM debian AS c",
    "FROM --platform=$TARGETPLATFORM ${X:-scratch}",
    "ARG X",
    "ARG X=1 Y=$X",
    "ENV X=2 Z=${Y:+z}",
    "ENV PATH=$PATH:/x",
    "LABEL $X=$Y",
    "WORKDIR ../$X//",
    "WORKDIR /w/",
    "USER $X",
    "EXPOSE ${X}0-90",
    "VOLUME $X",
    "STOPSIGNAL $X",
    "COPY --from=a . $X/",
    "COPY --from=1 --chmod=$X a b",
    "COPY --from=debian / /",
    "COPY <<E $X/\n$X\nE",
    "ADD --chown=$X a /",
    "RUN <<E\n$X\nE",
    "RUN x <<A <<-B\nA\n\tB",
    "ONBUILD COPY --from=b / /",
    "ONBUILD ENV X=$X",
    "SHELL [\"a\"]",
    "CMD x",
    "ENTRYPOINT [\"x\"]",
    "HEALTHCHECK NONE",
];

proptest! {
    #[test]
    fn any_dockerfile_is_planned_or_refused(
        lines in proptest::collection::vec(proptest::sample::select(LINES), 1..14),
        target in proptest::option::of(proptest::sample::select(&["a", "B", "0", "3"][..])),
        up_to_target in any::<bool>(),
    ) {
        let text = lines.join("\n");
        let Ok(_) = crate::dockerfile::parse(text.as_bytes()) else { return Ok(()) };
        let selection = match up_to_target {
            true => StageSelection::UpToTarget,
            false => StageSelection::Needed,
        };
        let config = r#"{"architecture":"amd64","os":"linux","config":{"OnBuild":["ARG X"]}}"#;
        let case = Case { target, selection, ..case(&text) }.image(DEBIAN, config);
        let planned = case.with_inputs(plan);
        prop_assert_eq!(&planned, &case.with_inputs(plan));
        let Ok(plan) = planned else { return Ok(()) };
        prop_assert_eq!(case.references(), vec![]);
        for (position, stage) in plan.stages.iter().enumerate() {
            let inherited = match &stage.base {
                Base::Stage(base) => {
                    prop_assert!(*base < position);
                    plan.stages[*base].image.history.len()
                }
                Base::Scratch | Base::Image(_) => 0,
            };
            for step in &stage.steps {
                if let StepKind::Copy(CopyStep { from: CopySource::Stage(source), .. }) = &step.kind {
                    prop_assert!(*source < position);
                }
            }
            let entries = stage.steps.iter().filter(|step| step.history.is_some()).count();
            prop_assert_eq!(stage.image.history.len(), inherited + entries);
        }
        prop_assert!(plan.target_stage().is_some());
    }
}
