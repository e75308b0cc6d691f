"""The result of an evaluation as text for people."""

from __future__ import annotations

_KEYS = ("miou_3d", "miou_3d_all", "miou_2d", "macc_2d", "clicks_to_85", "clicks_to_90")


def table(result: dict) -> str:
    """Lines of every thing under every rule, their means, and the curve and times below.

    Args:
        result: what `evaluate --json` prints.
    """
    lines = [f"{'rule':10} {'level':8} {'thing':20} " + " ".join(f"{key:>12}" for key in _KEYS)]
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
    for way, judged in result.get("text", {}).get("ways", {}).items():
        lines += [
            f"{way:10} {entry['text']:20} {entry['score']:>8} {entry['ious'][:1]}" for entry in judged["captions"]
        ]
        lines.append(
            f"{way}: top-1 {judged['top1']}, top-5 {judged['top5']}, nothing found rightly {judged['absent_said']}"
        )
    return lines


def _curve(result: dict) -> list[str]:
    if "curve" not in result:
        return []
    lines = [f"{'step':>10} {'seconds':>10} {'objects':>10} {'parts':>10}"]
    for point in result["curve"]:
        lines.append(" ".join(f"{'-' if value is None else value:>10}" for value in point))
    return [*lines, f"seconds to mIoU 0.90: {result['seconds_to_90']}"]
