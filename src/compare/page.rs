//! The report as one page that needs nothing else: no script, no style sheet, no image to load.

use super::chart::{Bar, Chart, Rgb, draw, number};
use super::error::CompareError;
use super::report::{Comparison, ModeReport};
use super::table::{COMMAND_HEADINGS, MIB, approximate, command_cells, notes, tells_of_commands};

const OURS: Rgb = (0x2b, 0x6c, 0xb0);
const EMULATED: Rgb = (0x9a, 0xa5, 0xb1);

/// The phases that a chart tells apart, and their colours; the others are `other`.
const PHASES: [(&str, Rgb); 8] = [
    ("unpack", (0x4e, 0x79, 0xa7)),
    ("copy", (0x76, 0xb7, 0xb2)),
    ("run", (0xf2, 0x8e, 0x2b)),
    ("snapshot", (0xe1, 0x57, 0x59)),
    ("layer", (0x59, 0xa1, 0x4f)),
    ("export", (0xed, 0xc9, 0x48)),
    ("cleanup", (0xb0, 0x7a, 0xa1)),
    ("other", (0xc8, 0xc8, 0xc8)),
];

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;color:#1a202c;max-width:1240px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.3em .55em;border-bottom:1px solid #e2e8f0;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{background:#f7fafc}
td.wide,th.wide{text-align:left;white-space:normal}
.sound{color:#276749;font-weight:600}.unsound{color:#c53030;font-weight:700}
.muted{color:#718096}.scroll{overflow-x:auto}
.key span{display:inline-block;margin-right:1.2em}
.key i{display:inline-block;width:.9em;height:.9em;margin-right:.4em;vertical-align:-.1em}
svg{max-width:100%;height:auto;display:block;margin:.5em 0}
code{background:#edf2f7;padding:0 .25em;border-radius:3px}
";

/// Writes the page.
pub(super) fn render(comparison: &Comparison) -> Result<String, CompareError> {
    let title = format!("zuwai compare-modes: {}", comparison.scenario.name);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        escaped(&title),
        escaped(&title)
    );
    page.push_str(&what(comparison));
    page.push_str("<h2>Figures</h2>\n");
    page.push_str(&table(comparison));
    page.push_str(&commands(comparison));
    page.push_str("<h2>Charts</h2>\n");
    page.push_str(&charts(comparison)?);
    page.push_str(&steps(comparison));
    page.push_str("<h2>The modes</h2>\n<ul>\n");
    for mode in &comparison.modes {
        let (name, text) = (escaped(&mode.mode), with_code(&mode.explanation));
        page.push_str(&format!("<li><code>{name}</code>: {text}</li>\n"));
    }
    page.push_str("</ul>\n<h2>Notes</h2>\n<ul>\n");
    for note in notes(comparison) {
        page.push_str(&format!("<li>{}</li>\n", with_code(&note)));
    }
    page.push_str("</ul>\n");
    page.push_str(LIMITS);
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// What the page does not show.
const LIMITS: &str = "\
<h2>What this does not show</h2>
<ul>
<li>Other machines, file systems and kernels: compare ratios, not seconds. Other work on the machine \
is in the figures; the spread between shortest and longest run tells how much.</li>
<li>A cold cache: base and context were read before the first measured run.</li>
<li>kaniko itself. Rows named <code>kaniko-…</code> are its algorithms written anew, single-threaded \
as it is, in a build of ours; its program, its tar, its compression and its garbage collector are not \
measured, so that it takes longer in truth.</li>
<li>Registries: nothing was pulled or pushed.</li>
<li>That a mode is sound: <em>sound</em> means that it missed nothing in this one build. Link \
structure is not compared; content, type, mode, owner, mtime, device number and extended attributes \
are.</li>
</ul>
";

fn what(comparison: &Comparison) -> String {
    let Comparison { machine, scenario, runs, .. } = comparison;
    let memory = number(approximate(machine.memory_bytes) / MIB / 1024.0);
    let rows = [
        ("Built", scenario.description.clone()),
        ("Runs", format!("{runs} of each mode, interleaved; figures are medians")),
        (
            "Machine",
            format!(
                "{} processors ({}), {memory} GiB of memory, Linux {}, {}",
                machine.cpus, machine.cpu_model, machine.kernel, machine.file_system
            ),
        ),
        ("Load before", format!("{}", machine.load_average)),
        ("Memory", machine.memory_source.clone()),
        ("Program", format!("zuwai {}, {} build", machine.program, machine.build)),
        ("Date", machine.date.clone()),
    ];
    let mut text = String::from("<div class=\"scroll\"><table>\n");
    for (name, value) in rows {
        text.push_str(&format!(
            "<tr><td>{name}</td><td class=\"wide\">{}</td></tr>\n",
            escaped(&value)
        ));
    }
    text + "</table></div>\n"
}

fn table(comparison: &Comparison) -> String {
    let mut text = String::from(
        "<div class=\"scroll\"><table>\n<tr><th>mode</th><th>changes missed</th><th>wall s</th>\
         <th>shortest–longest</th><th>CPU s</th><th>looking CPU s</th><th>× content</th>\
         <th>peak MiB</th><th>without cache</th><th>entries</th><th>opened</th><th>read MiB</th>\
         <th>layers KiB</th></tr>\n",
    );
    for mode in &comparison.modes {
        text.push_str(&row(mode));
    }
    text + "</table></div>\n"
}

/// Writes what the commands took, where they tell.
fn commands(comparison: &Comparison) -> String {
    if !tells_of_commands(comparison) {
        return String::new();
    }
    let headings = COMMAND_HEADINGS.map(|heading| format!("<th>{heading}</th>")).concat();
    let mut text = format!(
        "<h2>What recording costs the commands</h2>\n<div class=\"scroll\"><table>\n\
         <tr>{headings}</tr>\n"
    );
    for mode in comparison.modes.iter().filter(|mode| mode.command.is_some()) {
        let cells = command_cells(mode).map(|cell| format!("<td>{}</td>", escaped(&cell)));
        text.push_str(&format!("<tr>{}</tr>\n", cells.concat()));
    }
    text + "</table></div>\n"
}

fn row(mode: &ModeReport) -> String {
    let name = escaped(&mode.mode);
    if let Some(error) = &mode.error {
        let error = with_code(error);
        return format!(
            "<tr class=\"muted\"><td>{name}</td><td class=\"wide\" colspan=\"12\">not run: \
             {error}</td></tr>\n"
        );
    }
    let class = match mode.missed {
        None => "muted",
        Some(0) => "sound",
        Some(_) => "unsound",
    };
    let mebibytes = |bytes: Option<u64>| {
        bytes.map_or("–".to_owned(), |bytes| number(approximate(bytes) / MIB))
    };
    let ratio = mode.looking_ratio_to_content.map_or("–".to_owned(), number);
    let layers = mode.layer_bytes.map_or("–".to_owned(), |b| number(approximate(b) / 1024.0));
    let cells = [
        format!("{:.2}", mode.wall_s),
        format!("{:.2}–{:.2}", mode.wall_s_min, mode.wall_s_max),
        format!("{:.2}", mode.cpu_s),
        format!("{:.4}", mode.looking_cpu_s),
        ratio,
        mebibytes(mode.peak_bytes()),
        mebibytes(mode.peak_group_without_cache_bytes),
        number(approximate(mode.entries_stated)),
        number(approximate(mode.files_opened)),
        number(approximate(mode.bytes_hashed) / MIB),
        layers,
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    let verdict = mode.verdict();
    format!("<tr><td>{name}</td><td class=\"{class}\">{verdict}</td>{cells}</tr>\n")
}

fn charts(comparison: &Comparison) -> Result<String, CompareError> {
    let modes: Vec<&ModeReport> =
        comparison.modes.iter().filter(|mode| mode.error.is_none()).collect();
    let mut text = String::from("<p class=\"key\">");
    for (phase, (red, green, blue)) in PHASES {
        text.push_str(&format!(
            "<span><i style=\"background:rgb({red},{green},{blue})\"></i>{phase}</span>"
        ));
    }
    text.push_str("</p>\n");
    let phases = |mode: &&ModeReport| Bar {
        label: label(mode),
        parts: parts(mode),
        caption: format!("{} s", number(mode.wall_s)),
    };
    text.push_str(&draw(&Chart {
        title: "Wall time of the build by phase",
        unit: "seconds",
        bars: modes.iter().map(phases).collect(),
    })?);
    let simple = |title, unit, of: &dyn Fn(&ModeReport) -> Option<f64>| {
        let bar = |mode: &&ModeReport| {
            let value = of(mode)?;
            let color = if mode.emulated { EMULATED } else { OURS };
            Some(Bar { label: label(mode), parts: vec![(color, value)], caption: number(value) })
        };
        draw(&Chart { title, unit, bars: modes.iter().filter_map(bar).collect() })
    };
    text.push_str(
        "<p class=\"key\"><span><i style=\"background:#2b6cb0\"></i>ours</span>\
         <span><i style=\"background:#9aa5b1\"></i>emulated</span></p>\n",
    );
    text.push_str(&simple("CPU time spent to look for changes", "seconds", &|mode| {
        Some(mode.looking_cpu_s)
    })?);
    if tells_of_commands(comparison) {
        text.push_str(&simple("CPU time of the RUNs' own commands", "seconds", &|mode| {
            mode.command.map(|cost| cost.user_s + cost.system_s)
        })?);
    }
    text.push_str(&simple("Entries looked at", "entries", &|mode| {
        Some(approximate(mode.entries_stated))
    })?);
    text.push_str(&simple("Content read to find changes", "MiB", &|mode| {
        Some(approximate(mode.bytes_hashed) / MIB)
    })?);
    text.push_str(&simple("Peak of memory", "MiB", &|mode| {
        mode.peak_bytes().map(|bytes| approximate(bytes) / MIB)
    })?);
    if comparison.checked {
        text.push_str(&simple("Changes missed", "paths", &|mode| mode.missed.map(approximate))?);
    }
    Ok(text)
}

fn label(mode: &ModeReport) -> String {
    mode.mode.clone()
}

/// Returns the phases of a mode, and the rest up to its wall time.
fn parts(mode: &ModeReport) -> Vec<(Rgb, f64)> {
    let known = |name: &str| mode.phases.get(name).copied().unwrap_or_default();
    let named: f64 = PHASES.iter().map(|(name, _)| known(name)).sum();
    let rest = (mode.wall_s - named).max(0.0);
    PHASES
        .iter()
        .map(|(name, color)| (*color, if *name == "other" { rest } else { known(name) }))
        .collect()
}

/// Writes what each step took, mode by mode.
fn steps(comparison: &Comparison) -> String {
    let mut text = String::from(
        "<h2>Steps</h2>\n<div class=\"scroll\"><table>\n<tr><th>mode</th><th class=\"wide\">step\
         </th><th>found by</th><th>looking CPU s</th><th>looking wall s</th><th>entries</th>\
         <th>opened</th><th>RUN CPU s</th><th>changed</th><th>missed</th></tr>\n",
    );
    for mode in comparison.modes.iter().filter(|mode| mode.error.is_none()) {
        for step in &mode.steps {
            let shown = step_name(&step.text);
            let truth = step.truth.as_ref();
            let truth = |of: fn(&super::record::StepTruth) -> u64| {
                truth.map_or("–".to_owned(), |truth| of(truth).to_string())
            };
            let command = step.command.map(|cost| cost.user_s + cost.system_s);
            text.push_str(&format!(
                "<tr><td>{}</td><td class=\"wide\">{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td>\
                 <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escaped(&mode.mode),
                escaped(&shown),
                escaped(&step.found_by),
                step.looking_cpu_s,
                step.looking_wall_s,
                step.entries_stated,
                step.files_opened,
                command.map_or("–".to_owned(), |seconds| format!("{seconds:.3}")),
                truth(|truth| truth.changed),
                truth(|truth| truth.missed),
            ));
        }
    }
    text + "</table></div>\n"
}

/// Returns what an instruction is called here: its beginning, or the step of a scenario.
fn step_name(text: &str) -> String {
    // The last word of `RUN ["…", "__step", "name"]`.
    let step = text.split_once(super::STEP).and_then(|(_, rest)| rest.rsplit('"').nth(1));
    match step {
        Some(step) => format!("RUN {step}"),
        None => text.chars().take(70).collect(),
    }
}

/// Escapes text for HTML; what stands in backticks becomes code.
fn with_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    };
    parts.map(part).collect()
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
