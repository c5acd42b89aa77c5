"""A session for people: turns, steps with their ends, and tool calls with their results."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator

from rich.text import Text

from turnlog.domain.events import Content
from turnlog.infrastructure.cli.output import Screen, counted, one_line, printable, shortened
from turnlog.infrastructure.cli.times import ago, moment
from turnlog.projections.turn import Approval, LateResult, TurnRun
from turnlog.projections.usage import token_counts
from turnlog.projections.view import Message, SessionView, Step, StepToolCall, ToolResult, Turn

LABEL_WIDTH = 11
LONGEST = 4_000
"""Largest number of characters of one text that is shown: a tool may answer with a megabyte. `--json` shows all."""

STATUS_STYLES = {
    "finished": "green",
    "final": "green",
    "open": "cyan",
    "queued": "cyan",
    "answering": "cyan",
    "running_tools": "cyan",
    "waiting": "yellow",
    "stopped": "yellow",
    "pending": "yellow",
    "synthetic": "yellow",
    "interrupted": "yellow",
    "abandoned": "yellow",
    "failed": "red",
    "error": "red",
}
_ROLE_STYLES = {"user": "bold blue", "assistant": "bold magenta"}


def print_session(screen: Screen, view: SessionView) -> None:
    """Prints the whole view."""
    _print_head(screen, view)
    for turn in view.turns:
        print_turn(screen, turn)
    if view.faults:
        screen.say("\nfaults", style="bold red")
    for fault in view.faults:
        print_block(screen, f"{fault.position:>6}", f"{fault.kind}: {fault.message}", "dim", "red")
        if fault.provider_error:
            print_block(screen, "", f"a provider answers: {fault.provider_error}", "dim", "dim")
    repairs = Counter(repair.repair_id for turn in view.turns for repair in turn.repairs for _ in repair.corrections)
    for repair_id, count in repairs.items():
        screen.say(f"\nrepaired: {counted(count, 'correction')} by {repair_id}", style="dim")


def print_turn(screen: Screen, turn: Turn) -> None:
    """Prints one turn under a line with its number and status."""
    name = f"turn {turn.index + 1}"
    rule = "─" * max(3, min(screen.width, 100) - len(name) - len(turn.status) - 2)
    line = Text.assemble("\n", (name, "bold"), (f" {rule} ", "dim"), (turn.status, STATUS_STYLES[turn.status]))
    screen.print(line, soft_wrap=True)
    entries: list[Message | Step | LateResult | TurnRun] = [*turn.entries(), *turn.runs]
    for entry in sorted(entries, key=_place):
        match entry:
            case Message():
                print_message(screen, entry.role, entry.content, entry.name)
                if entry.queued:
                    print_block(screen, "", Text("queued", style="yellow"))
            case Step():
                print_step(screen, entry, is_replaced=turn.has_replaced(entry))
            case LateResult():
                print_late_result(screen, entry)
            case TurnRun():
                print_run(screen, entry)


def _place(entry: Message | Step | LateResult | TurnRun) -> int:
    """A run stands where it ended, after what it brought; one that is under way, at the end."""
    if isinstance(entry, TurnRun):
        return sys.maxsize if entry.ended_position is None else entry.ended_position
    return entry.position


def print_run(screen: Screen, run: TurnRun) -> None:
    """Prints who had a turn in hand, and how that ended."""
    who = f"by {one_line(run.writer)}" if run.writer else ""
    if run.status is None:
        line = Text.assemble(("in hand", "cyan"), (f" {who}, since {moment(run.started_at)}", "dim"))
    else:
        why = f" · {one_line(run.reason)}" if run.reason else ""
        whose = f" · {who}" if who else ""
        line = Text.assemble((run.status, STATUS_STYLES[run.status]), (f"{why}{whose}", "dim"))
    print_block(screen, "owner", line, "dim")


def print_late_result(screen: Screen, late: LateResult) -> None:
    """Prints a result that came when the model had gone on."""
    call = f"{printable(late.name) or '(no name)'}({_cut(late.arguments)})"
    line = Text.assemble(
        ("← ", "dim"),
        (late.status, STATUS_STYLES[late.status]),
        (f" of the earlier call {call}  ", "dim"),
        _cut(content_text(late.content)),
    )
    print_block(screen, "late", line, "bold")


def print_message(screen: Screen, role: str, content: Content | None, name: str | None = None) -> None:
    """Prints a message that is not a step."""
    text = content_text(content)
    print_block(screen, role, f"{name}: {text}" if name else text, _ROLE_STYLES.get(role, "bold"))


def print_step(screen: Screen, step: Step, *, is_replaced: bool = False) -> None:
    """Prints one LLM response: its reasoning, text, calls with what became of them, and end."""
    if step.message.reasoning:
        print_block(screen, "reasoning", step.message.reasoning, "dim", "dim italic")
    label = "assistant"
    for text, style in _spoken(step):
        print_block(screen, label, text, _ROLE_STYLES["assistant"], style)
        label = ""
    for call in step.message.tool_calls:
        print_call(screen, call, label)
        label = ""
        print_work(screen, step, call.index)
        if result := step.result_of(call.index):
            print_result(screen, result)
    replaced = (" · made again", "yellow") if is_replaced else ""
    ended = Text.assemble((step.status, STATUS_STYLES[step.status]), (_circumstances(step), "dim"), replaced)
    print_block(screen, label, ended, _ROLE_STYLES["assistant"])


def print_call(screen: Screen, call: StepToolCall | LateResult, label: str = "") -> None:
    """Prints a tool call with its arguments."""
    line = Text.assemble(("→ ", "dim"), (printable(call.name) or "(no name)", "cyan"), f"({_cut(call.arguments)})")
    print_block(screen, label, line, _ROLE_STYLES["assistant"])


def print_work(screen: Screen, step: Step, index: int) -> None:
    """Prints what was decided about a call, and when its tool was started. One that was allowed, perhaps long ago, runs
    when somebody goes on."""
    runs = [run for run in step.tool_runs if run.index == index]
    is_due = not runs and step.result_of(index) is None
    for approval in step.approvals:
        if approval.index == index:
            due = (" · not run yet", "yellow") if is_due and approval.approved else ""
            print_block(screen, "", Text.assemble(("  ? ", "dim"), *_decision(approval), due))
    for run in runs:
        attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
        print_block(screen, "", Text(f"  ▸ started at {moment(run.at)}{attempt}", style="dim"))


def _decision(approval: Approval) -> Iterator[tuple[str, str]]:
    if approval.approved is None:
        yield "waits for a decision", "yellow"
        return
    yield ("allowed", "green") if approval.approved else ("refused", "red")
    whole = " for the whole turn" if approval.for_turn else ""
    why = f": {one_line(approval.reason)}" if approval.reason else ""
    yield f"{whole} by {one_line(approval.by) or 'nobody'}{why}", "dim"


def print_result(screen: Screen, result: ToolResult) -> None:
    """Prints a tool's result with its status."""
    line = Text.assemble(
        ("  ← ", "dim"),
        (result.status, STATUS_STYLES[result.status]),
        ("" if result.sent is None else ", late", "yellow"),
        f"  {_cut(content_text(result.content))}",
    )
    print_block(screen, "", line)


def print_block(screen: Screen, label: str, body: str | Text, label_style: str = "", style: str = "") -> None:
    """Prints a text to the right of its label. On a terminal the text is wrapped."""
    text = body if isinstance(body, Text) else Text(_cut(body).rstrip("\n"), style=style)
    for number, line in enumerate(_lines(screen, text)):
        whole = Text.assemble(((label if number == 0 else "").ljust(LABEL_WIDTH), label_style), line)
        whole.rstrip()
        screen.print(whole, soft_wrap=True)


def content_text(content: Content | None) -> str:
    """Content as text. Parts that are not text are shown as JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] if isinstance(part.get("text"), str) else json.dumps(part) for part in content)


def _print_head(screen: Screen, view: SessionView) -> None:
    screen.say(one_line(view.title) if view.title is not None else "(no title)", style="bold")
    owner = "nobody" if view.user_id is None else one_line(view.user_id)
    updated = f"{moment(view.updated_at)} ({ago(view.updated_at)})"
    rows = [
        ("session", str(view.session_id)),
        ("owner", owner),
        ("started", moment(view.started_at)),
        ("updated", f"{updated}, version {view.version}"),
        ("metadata", json.dumps(view.metadata, ensure_ascii=False) if view.metadata else ""),
        ("counters", _counters(view)),
        ("usage", usage_text(view)),
    ]
    for label, value in rows:
        if value:
            print_block(screen, label, value, "dim")


def _counters(view: SessionView) -> str:
    return ", ".join(f"{name}[{key}] = {n}" for name, keys in view.counters.items() for key, n in keys.items())


def usage_text(view: SessionView) -> str:
    """The totals in one line. Empty if nothing was reported."""
    usage = view.usage
    if not usage.entries:
        return ""
    prompt = f"{usage.prompt_tokens:,} prompt" + (f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else "")
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    reports = counted(len(usage.entries), "report")
    return f"{usage.total_tokens:,} tokens: {prompt}, {usage.completion_tokens:,} completion{thought}; {reports}"


def _spoken(step: Step) -> Iterator[tuple[str, str]]:
    message = step.message
    if text := content_text(message.content):
        yield text, ""
    if message.refusal:
        yield message.refusal, "red"
    if function := message.function_call:
        yield f"→ {function.name}({function.arguments})", "cyan"


def _circumstances(step: Step) -> str:
    failure = step.failure or {}
    refused = f"HTTP {failure['status']}" if isinstance(failure.get("status"), int) else None
    said = [step.finish_reason, refused, step.note, step.model, _tokens(step)]
    return "".join(f" · {one_line(part)}" for part in said if part)


def _tokens(step: Step) -> str:
    count = token_counts(step.usage)["completion_tokens"] if step.usage else 0
    return f"{count:,} tokens" if count else ""


def _cut(text: str) -> str:
    shown = printable(text)
    if len(shown) <= LONGEST:
        return shown
    return f"{shortened(shown, LONGEST)} ({len(shown) - LONGEST + 1:,} more characters)"


def _lines(screen: Screen, text: Text) -> Iterator[Text]:
    if screen.is_terminal:
        return iter(text.wrap(screen, max(20, screen.width - LABEL_WIDTH)))
    return iter(text.split("\n", allow_blank=True))
