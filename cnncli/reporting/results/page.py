"""A finished run as one HTML file that needs nothing else: no scripts, no other files, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cnncli.errors import printable
from cnncli.io.images.encode import encode_image
from cnncli.io.images.image import Image
from cnncli.model.network import Model
from cnncli.model.summary import rows_of
from cnncli.reporting.notation import format_shape
from cnncli.reporting.pictures import charts
from cnncli.reporting.pictures.svg import Drawing
from cnncli.reporting.results.evaluation import Measured, percent
from cnncli.tasks.evaluate.figures import figures_of

WORST = 24  # mistakes that the page shows
_STYLE = """
:root{color-scheme:light}
body{margin:0 auto;max-width:62rem;padding:1rem;background:#fff;color:#1d2433;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0}.pale{color:#5a6475}
.figures{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0;padding:0}
.figures div{border:1px solid #e3e7ee;border-radius:.5rem;padding:.5rem .9rem;min-width:7rem}
.figures b{display:block;font-size:1.35rem;font-weight:600}.figures span{color:#5a6475;font-size:.85rem}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts svg{flex:1 1 18rem;min-width:0}
svg{max-width:100%;height:auto}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #e3e7ee;white-space:nowrap}
th{font-weight:600;color:#5a6475}td.n,th.n{text-align:right}td.w{white-space:normal}
.mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.8rem}
.mistakes figure{margin:0;border:1px solid #e3e7ee;border-radius:.5rem;padding:.5rem;text-align:center}
.mistakes img{width:100%;max-width:8rem;image-rendering:pixelated;border:1px solid #e3e7ee}
.mistakes figcaption{font-size:.85rem;line-height:1.35;margin-top:.3rem}
code,pre{font:0.9rem/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre{background:#f5f7fa;border-radius:.5rem;padding:.7rem;overflow-x:auto;white-space:pre-wrap}
"""


@dataclass(frozen=True)
class RunPage:
    """What the page of a run shows.

    Attributes
    ----------
    measured : Measured
    images : sequence of ndarray of uint8, (H, W, C)
        The images that were measured.
    model : Model
    history : sequence of mapping
        Rows of ``history.csv``, empty fields as None.
    training : mapping
        The facts of the checkpoint.
    command : str
        The command line, empty where it is not known.
    """

    measured: Measured
    images: Any
    model: Model
    history: Sequence[Mapping[str, float | None]]
    training: Mapping[str, Any]
    command: str = ""

    def html(self) -> str:
        """Return the page."""
        measured = self.measured
        title = f"{measured.arch} on {measured.dataset}"
        body = [
            f"<h1>{_text(title)}</h1>",
            f'<p class="pale">{_text(self._subtitle())}</p>',
            self._headline(),
            self._curves(),
            self._confusion(),
            self._classes(),
            self._mistakes(),
            self._network(),
            self._facts(),
        ]
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">\n"
            f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(part for part in body if part)
            + "\n</body>\n</html>\n"
        )

    def _subtitle(self) -> str:
        epoch = f"weights of epoch {self.measured.epoch}" if self.measured.epoch else "first weights"
        count = self.measured.evaluation.images
        return f"{epoch}, measured on {count:,} {self.measured.part} images"

    def _headline(self) -> str:
        evaluation = self.measured.evaluation
        figures = figures_of(evaluation, None)
        shown = []
        if evaluation.kind == "numbers":
            shown += [("RMSE", f"{figures['rmse']:.4g}"), ("mean error", f"{figures['mae']:.4g}")]
        else:
            low, high = figures["acc_interval"]
            shown.append((f"accuracy, 95 % interval {percent(low)} to {percent(high)}", percent(figures["acc"])))
            shown.append(("macro F1", percent(figures["macro_f1"])))
        if figures.get("auc") is not None:
            shown.append(("area under ROC", f"{figures['auc']:.4f}"))
        shown.append((f"loss ({evaluation.loss_name.replace('_', '-')})", f"{figures['loss']:.4g}"))
        val_acc = self.training.get("val_acc")
        if isinstance(val_acc, float) and self.measured.part != "validation":
            shown.append(("validation accuracy", percent(val_acc)))
        shown.append(("parameters", f"{self.model.parameter_count:,}"))
        return (
            '<div class="figures">' + "".join(f"<div><b>{_text(v)}</b><span>{_text(k)}</span></div>" for k, v in shown)
        ) + "</div>"

    def _curves(self) -> str:
        pictures = []
        for panel in charts.panels_of(self.history, self.measured.epoch):
            drawing = Drawing(*charts.curves_size(1), f"{panel.title} by epoch")
            charts.draw_curves(drawing, [panel])
            pictures.append(drawing.finish())
        return f'<h2>Training</h2>\n<div class="charts">{"".join(pictures)}</div>' if pictures else ""

    def _confusion(self) -> str:
        drawing = confusion_drawing(self.measured)
        return "" if drawing is None else f'<h2>Confusion</h2>\n<div class="scroll">{drawing.finish()}</div>'

    def _classes(self) -> str:
        evaluation = self.measured.evaluation
        if evaluation.kind == "numbers":
            targets = figures_of(evaluation, None)["per_target"]
            rows = [[one["target"], *(_number(one[key]) for key in ("rmse", "mae", "r2"))] for one in targets]
            return "<h2>Targets</h2>\n" + _table(["target", "RMSE", "mean error", "R²"], rows)
        rows = [
            [one.name, f"{one.images:,}", percent(one.precision), percent(one.recall), percent(one.f1)]
            for one in evaluation.per_class
        ]
        return "<h2>Classes</h2>\n" + _table(["class", "images", "precision", "recall", "F1"], rows)

    def _mistakes(self) -> str:
        evaluation = self.measured.evaluation
        worst = evaluation.worst(WORST)
        if not worst:
            none = evaluation.kind == "classes"
            return "<h2>Mistakes</h2>\n<p>None: every answer is right.</p>" if none else ""
        figures = []
        folder, called = self.measured.called(worst)
        for one, place in zip(worst, called, strict=True):
            name = place if self.measured.names else f"image {place}"
            truth, answer = (evaluation.classes[number] for number in (one.truth, one.answered))
            figures.append(
                f'<figure><img src="{_data_uri(self.images[one.image])}" alt="{_text(name)}">'
                f"<figcaption>answer <b>{_text(answer)}</b>, {percent(one.prob)}<br>class <b>{_text(truth)}</b>, "
                f'{percent(one.truth_prob)}<br><span class="pale">{_text(name)}</span></figcaption></figure>'
            )
        count = evaluation.images - int(evaluation.hits.sum())
        said = f"{len(worst)} of {count:,} mistakes, those with the largest loss." if count > len(worst) else ""
        said += _text(f" The pictures are in {folder}.") if folder else ""
        return f'<h2>Worst mistakes</h2>\n<p class="pale">{said}</p>\n<div class="mistakes">{"".join(figures)}</div>'

    def _network(self) -> str:
        rows = [["input", "", format_shape(self.model.input_shape), ""]]
        for row in rows_of(self.model):
            kind = " ".join((row.kind, *row.activations))
            scope = "/".join((*row.scope, row.name))
            rows.append([scope, f"{kind} {row.label}".strip(), format_shape(row.output), f"{row.params:,}"])
        total = f"{self.model.parameter_count + self.model.non_trainable_count:,}"
        rows.append(["total", "", "", total])
        return "<h2>Network</h2>\n" + _table(["layer", "kind", "output", "parameters"], rows, left=2)

    def _facts(self) -> str:
        parts = ["<h2>How it was made</h2>"]
        if self.command:
            parts.append(f"<pre>{_text(self.command)}</pre>")
        hidden = {"versions", "data_sha256", "machine", "partial", "plateau", "step"}
        rows = [[key, _fact(value)] for key, value in self.training.items() if key not in hidden and value is not None]
        versions = self.training.get("versions")
        if isinstance(versions, Mapping):
            rows.append(["versions", ", ".join(f"{name} {value}" for name, value in versions.items())])
        if isinstance(self.training.get("data_sha256"), str):
            rows.append(["data SHA-256", self.training["data_sha256"]])
        return "\n".join([*parts, _table(["option", "value"], rows, left=2, wraps=True)])


def confusion_drawing(measured: Measured) -> Drawing | None:
    """Return the confusion matrix as an SVG; None where there is none, or for too many classes."""
    counts, names = measured.evaluation.confusion, measured.evaluation.classes
    if counts is None or len(names) > charts.MOST_CLASSES:
        return None
    size = charts.matrix_size(names, int(counts.max()))
    drawing = Drawing(size.width, size.height, f"confusion matrix of {measured.part} images")
    charts.draw_matrix(drawing, counts.tolist(), names)
    return drawing


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, wraps: bool = False) -> str:
    """Return an HTML table; the columns after the first `left` ones are numbers."""
    classes = ["" if number < left else ' class="n"' for number in range(len(titles))]
    if wraps:
        classes[-1] = ' class="w"'
    head = "".join(f"<th{kind}>{_text(title)}</th>" for kind, title in zip(classes, titles, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _data_uri(image: Any) -> str:
    shown = image if image.shape[2] in (1, 3) else image[..., :1]
    png = encode_image(Image(shown), "PNG", level=9)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _text(text: str) -> str:
    return escape(printable(str(text)))
