/**
 * Folds histories with turnlog.js, one a line: {views, deltas}, where `deltas[i]` leads from `views[i]` to `views[i + 1]`.
 * Answers each with {told, untold, wrong}: how many deltas led to the next view, how many had it read anew, and what came
 * out otherwise. From each view one delta is folded, and from the first one all of them, one after the other.
 */
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { applyDelta, turnStatus, waitingCalls } = await import(pathToFileURL(process.argv[2]));

/** A view without what a piece of an answer does not say. */
function comparable(view, isTimed, withLengths) {
  const text = JSON.stringify(view, (key, value) => (key === "length" && !withLengths ? 0 : value));
  return { ...JSON.parse(text), ...(isTimed ? {} : { updated_at: null }) };
}

function frozen(value) {
  if (value !== null && typeof value === "object" && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(frozen);
  }
  return value;
}

function folded({ views, deltas, lengths, statuses }) {
  const result = { told: 0, untold: 0, wrong: [] };
  let running = frozen(views[0]);
  deltas.forEach((delta, index) => {
    const expected = views[index + 1];
    const check = (view, how) => {
      try {
        assert.deepEqual(comparable(view, "at" in delta, lengths), comparable(expected, "at" in delta, lengths));
      } catch (error) {
        result.wrong.push(`${how}, ${JSON.stringify(delta)}: ${error.message}`);
      }
    };
    const next = applyDelta(frozen(views[index]), delta);
    if (next === null) result.untold++;
    else {
      result.told++;
      check(next, "from the view before");
    }
    running = applyDelta(running, delta);
    if (running === null) running = frozen(expected);
    else check(running, "from the first view");
    const found = running.turns.map((turn) => [turnStatus(turn), turn.steps.flatMap(waitingCalls).length]);
    if (JSON.stringify(found) !== JSON.stringify(statuses[index + 1])) {
      result.wrong.push(`${JSON.stringify(found)} is not ${JSON.stringify(statuses[index + 1])}`);
    }
    if (applyDelta(running, delta) !== running) result.wrong.push("a delta that was seen has changed the view");
  });
  return result;
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(folded(JSON.parse(line))));
}
