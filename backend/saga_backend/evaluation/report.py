"""The result of an evaluation as text."""

from __future__ import annotations

_KEYS = ("miou_3d", "miou_3d_all", "miou_2d", "macc_2d", "clicks_to_85", "clicks_to_90")


def table(result: dict) -> str:
    """A table of all objects and parts under every rule with the means; the curve and the times are below.

    Args:
        result: the output of `evaluate --json`.
    """
    lines = [f"{'rule':10} {'level':8} {'name':20} " + " ".join(f"{key:>12}" for key in _KEYS)]
    for rule, levels in result["rules"].items():
        for level, scores in levels.items():
            for entry in [*scores["per_object"], scores | {"name": "MEAN"}]:
                name = entry["name"] or str(entry["label"])
                values = " ".join(f"{'-' if entry[key] is None else entry[key]:>12}" for key in _KEYS)
                lines.append(f"{rule:10} {level:8} {name[:20]:20} {values}")
    lines += _curve(result) + _text(result)
    lines.append(f"seconds: {result['seconds']}  peak: {result['peak_mb']} MB")
    return "\n".join(lines)


def _text(result: dict) -> list[str]:
    lines = []
    for way, scores in result.get("text", {}).get("ways", {}).items():
        lines += [
            f"{way:10} {entry['text']:20} {entry['score']:>8} {entry['ious'][:1]}" for entry in scores["captions"]
        ]
        lines.append(
            f"{way}: top-1 {scores['top1']}, top-5 {scores['top5']}, absent captions without a match "
            f"{scores['absent_said']}"
        )
    return lines


def _curve(result: dict) -> list[str]:
    if "curve" not in result:
        return []
    lines = [f"{'step':>10} {'seconds':>10} {'objects':>10} {'parts':>10}"]
    for point in result["curve"]:
        lines.append(" ".join(f"{'-' if value is None else value:>10}" for value in point))
    return [*lines, f"seconds to mIoU 0.90: {result['seconds_to_90']}"]
