"""Writes results.json, README.md and the charts."""

import datetime
import json

from process import run

LIMITS = (
    "Everything ran on one machine, on an ext4 file system in memory, with a registry on the "
    "loopback address: no figure says what a slow disk or a far registry costs. Programs were run "
    "one after the other, each with the page cache as the one before left it."
)


def write(folder, machine, arguments, results):
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "date": datetime.date.today().isoformat(), "machine": machine.as_dict(),
        "runs": arguments.runs, "scale": arguments.scale, "scenarios": results,
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = [
        f"# Whole builds, {document['date']}", "",
        f"Linux {machine.kernel}, {machine.processors} of {machine.processor}, "
        f"{machine.memory_gib} GiB; load {machine.load_before} before the first run. "
        f"Medians of {arguments.runs} interleaved runs"
        + ("" if arguments.scale == 1 else f", at {arguments.scale} of the size") + ".",
        "", LIMITS, "", f"Made by `hack/bench.sh --runs {arguments.runs}`.", "",
    ]
    for result in results:
        chart(folder, result)
        lines += [f"## {result['title']}", "", f"![{result['name']}]({result['name']}.svg)", ""]
        lines += ["| | wall s | CPU s | peak RSS MB |", "|---|---|---|---|"]
        for name, median in result["medians"].items():
            lines.append(
                f"| {name} | {median['wall_s']:.2f} | {median['cpu_s']:.2f} "
                f"| {median['peak_rss_mb']:.0f} |"
            )
        lines += ["", "| bound | found | at most | |", "|---|---|---|---|"]
        for bound in result["bounds"]:
            held = "held" if bound["held"] else "**missed**"
            lines.append(f"| {bound['what']} | {bound['found']} | {bound['at_most']} | {held} |")
        lines.append("")
    (folder / "README.md").write_text("\n".join(lines))


def chart(folder, result):
    """One chart of bars: wall and CPU seconds of each contender."""
    rows = "".join(
        f'"{name}" {median["wall_s"]} {median["cpu_s"]}\n'
        for name, median in result["medians"].items()
    )
    script = f"""
set terminal svg size 760,360 background rgb 'white' font 'sans-serif,12'
set output '{folder / result["name"]}.svg'
set title "{result["title"]}" noenhanced
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.85 noborder
set yrange [0:*]
set ylabel 'seconds'
set grid ytics
set key outside right top
$rows << END
{rows}END
plot $rows using 2:xtic(1) title 'wall' lc rgb '#2f6db5', '' using 3 title 'CPU' lc rgb '#e08a1e'
"""
    run(["gnuplot", "-"], input=script)
