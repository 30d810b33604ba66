"""Compares how two workers handle the signatures of one program.

The worker under test consumes only the queue `run`. The messages that it publishes stay in other
queues. This program takes them from there, notes them and moves them to `run`, one at a time. So it
sees each message, in an order that does not depend on time. It prints a transcript for each case:
messages, then documents. Ids are numbered in the order of their appearance, and times are seconds
from now.

    composites.py               every composite in every place, each with one of the sets of options
    composites.py --all         each with all of them
    composites.py PART...       the cases whose name contains one of the parts
"""

import base64
import itertools
import json
import os
import re
import sys
import time
import warnings
from functools import partial

warnings.simplefilter("ignore")

import redis
from celery import chord, group
from celery.canvas import Signature, _chain
from kombu import compression, serialization
from proj import app

app.conf.task_acks_late = True
ACCEPTED = serialization.prepare_accept_content(["json"])

# The longest time that a worker may take for one message, on a busy machine.
WAIT = 60
RUN = "run"
# The prefix of task names that no worker has. If Python's worker had the task of an errback, it
# would call the task itself in the middle of other work.
TOLD = "told"
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SEPARATOR = "\x06\x16"
# The keys that belong to kombu's Redis transport and to Celery. No case changes them.
OWN = re.compile(r"_kombu\.|unacked|rs[.:]|celery\.|celery-task")


def task(name, *args, immutable=False, **options):
    return Signature(f"proj.{name}", args=args, options=options, immutable=immutable, app=app)


def echo(*args, **options):
    return task("echo", *args, **options)


def fail(**options):
    return task("fail", "alas", immutable=True, **options)


def told(word, immutable=False, **options):
    return Signature(TOLD, args=(word,), options=options, immutable=immutable, app=app)


def chain(*steps, **options):
    """Returns a chain as written, even inside another one."""
    return _chain(*steps, app=app, **options)


def with_options(signature, options):
    """Returns the signature with its own options, set the way users set them."""
    options = dict(options)
    for link in options.pop("link", ()):
        signature.link(link)
    for link in options.pop("link_error", ()):
        signature.link_error(link)
    for name, value in options.pop("own", {}).items():
        # Sets it in the signature itself: `link` of a group goes to its first member.
        signature.options[name] = value
    stamp = options.pop("stamp", None)
    signature.set(**options)
    if stamp:
        signature.stamp(**stamp)
    return signature


COMPOSITES = {
    "task": lambda: echo("t"),
    "immutable": lambda: echo("t", immutable=True),
    "chain": lambda: chain(echo("a"), echo("b")),
    "chain of one": lambda: chain(echo("a")),
    "group": lambda: group([echo("a"), echo("b")], app=app),
    "group of one": lambda: group([echo("a")], app=app),
    "group of groups": lambda: group([echo("a"), group([echo("b"), echo("c")], app=app)], app=app),
    "group of chains": lambda: group([chain(echo("a"), echo("b")), echo("c")], app=app),
    "chord": lambda: chord([echo("a"), echo("b")], echo("body"), app=app),
    "chord of one": lambda: chord([echo("a")], echo("body"), app=app),
    "chord with a chain": lambda: chord([echo("a")], chain(echo("b"), echo("c")), app=app),
    "chord with a group": lambda: chord([echo("a")], group([echo("b"), echo("c")], app=app), app=app),
    "chord of groups": lambda: chord([group([echo("a"), echo("b")], app=app), echo("c")], echo("body"), app=app),
    "chord of chords": lambda: chord(
        [chord([echo("a"), echo("b")], echo("inner"), app=app), echo("c")], echo("body"), app=app
    ),
    "chord of chains": lambda: chord([chain(echo("a"), echo("b")), echo("c")], echo("body"), app=app),
    "chord of a chain with a group": lambda: chord(
        [chain(echo("a"), group([echo("b"), echo("c")], app=app)), echo("d")], echo("body"), app=app
    ),
    "chain with a group": lambda: chain(echo("a"), group([echo("b"), echo("c")], app=app)),
    "chain with a group inside": lambda: chain(echo("a"), group([echo("b"), echo("c")], app=app), echo("d")),
    "chain behind a group": lambda: chain(group([echo("b"), echo("c")], app=app), echo("d")),
    "chain with two groups": lambda: chain(
        echo("a"), group([echo("b"), echo("c")], app=app), group([echo("d"), echo("e")], app=app), echo("f")
    ),
    "chain with a chord": lambda: chain(echo("a"), chord([echo("b"), echo("c")], echo("d"), app=app), echo("e")),
    "chain in a chain": lambda: chain(echo("a"), chain(echo("b"), echo("c")), echo("d")),
    "failing task": fail,
    "failing chain": lambda: chain(echo("a"), fail(), echo("c")),
    "failing group": lambda: group([fail(), echo("b")], app=app),
    "failing header": lambda: chord([fail(), echo("b")], echo("body"), app=app),
    "late failing header": lambda: chord([echo("a"), fail()], echo("body"), app=app),
    "failing header with a chain": lambda: chord([fail()], chain(echo("b"), echo("c")), app=app),
    "failing header with a group": lambda: chord([fail()], group([echo("b"), echo("c")], app=app), app=app),
    "failing body": lambda: chord([echo("a")], fail(), app=app),
    "failing chain in a header": lambda: chord([chain(fail(), echo("a")), echo("b")], echo("body"), app=app),
    "failing chain with a chord": lambda: chain(fail(), chord([echo("b"), echo("c")], echo("d"), app=app), echo("e")),
}

FAILING_HEADERS = [name for name in COMPOSITES if "failing" in name and "header" in name]

PLACES = {
    "link": lambda it: task("add", 1, 2, link=[it]),
    "one of two links": lambda it: task("add", 1, 2, link=[it, echo("other")]),
    "next step": lambda it: chain(task("add", 1, 2), it),
    "step between": lambda it: chain(task("add", 1, 2), it, echo("last")),
    "body": lambda it: chord([task("add", 1, 2)], it, app=app),
    "member": lambda it: task("add", 1, 2, link=[group([it, echo("other")], app=app)]),
    "member of a header": lambda it: task("add", 1, 2, link=[chord([it, echo("other")], echo("body"), app=app)]),
    "last of a header": lambda it: task("add", 1, 2, link=[chord([echo("other"), it], echo("body"), app=app)]),
    "body of a link": lambda it: task("add", 1, 2, link=[chord([echo("other")], it, app=app)]),
    "step of a link": lambda it: task("add", 1, 2, link=[chain(echo("first"), it)]),
    "step between of a link": lambda it: task("add", 1, 2, link=[chain(echo("first"), it, echo("last"))]),
}

# The error callbacks are tasks that no worker has. The first step of a chain is immutable, because
# Python would call the chain with the exception itself, which it cannot write into a message.
ERRBACKS = {
    "task": lambda: told("t"),
    "immutable": lambda: told("t", immutable=True),
    "chain": lambda: chain(told("a", immutable=True), told("b")),
    "chain of three": lambda: chain(told("a", immutable=True), told("b"), told("c", immutable=True)),
    "chain with a group": lambda: chain(told("a", immutable=True), group([told("b"), told("c")], app=app)),
    "group": lambda: group([told("a"), told("b")], app=app),
    "group of one": lambda: group([told("a")], app=app),
    "group of groups": lambda: group([told("a"), group([told("b"), told("c")], app=app)], app=app),
    "group of chains": lambda: group([chain(told("a"), told("b")), told("c")], app=app),
    "chord": lambda: chord([told("a"), told("b")], told("body"), app=app),
}

PLACES_OF_ERRORS = {
    "error callback": lambda it: fail(link_error=[it]),
    "one of two error callbacks": lambda it: fail(link_error=[it, told("other")]),
    "error callback of a body": lambda it: chord([fail()], task("echo", "body", link_error=[it]), app=app),
}

OPTIONS = {
    "none": lambda: {},
    "links": lambda: {"link": [echo("linked")], "link_error": [told("errback")]},
    "two links": lambda: {
        "link": [echo("linked"), chain(echo("linked"), echo("on"))],
        "link_error": [told("errback"), told("another", queue="errors")],
    },
    "own links": lambda: {"own": {"link": [dict(echo("linked"))], "link_error": [dict(told("errback"))]}},
    "a single link": lambda: {"own": {"link": dict(echo("linked")), "link_error": dict(told("errback"))}},
    "way": lambda: {"queue": "mails", "priority": 5, "serializer": "json", "compression": "gzip"},
    "times": lambda: {"countdown": 3000, "expires": 9000, "time_limit": 70, "soft_time_limit": 60},
    "dates": lambda: {"eta": "2036-11-28T09:00:00+00:00", "expires": "2036-11-29T09:00:00+00:00"},
    "words": lambda: {
        "headers": {"x-tenant": "seven", "x-list": [1, {"a": None}]},
        "shadow": "shown",
        "reply_to": "11111111-2222-3333-4444-555555555555",
        "ignore_result": True,
        "retries": 2,
    },
    "stamps": lambda: {"stamp": {"stamped_headers": ["on", "by"], "on": "monday", "by": [1, "two"]}},
    "routing key": lambda: {"routing_key": "mails"},
    "exchange": lambda: {"exchange": "mails"},
    "odd": lambda: {"priority": -1, "countdown": 0, "queue": None, "expires": None, "compression": None},
    "odder": lambda: {"priority": 15.5, "time_limit": None, "headers": None, "ignore_result": 0, "shadow": ""},
    "publishing": lambda: {
        "retry": False,
        "retry_policy": {"max_retries": 1},
        "delivery_mode": 1,
        "add_to_parent": True,
    },
    "compressed": lambda: {"serializer": "json", "compression": "bzip2", "priority": "4"},
    "property": lambda: {"app_id": "shop", "user_id": "seven"},
}


class Broker:
    """The queues, seen from outside the worker."""

    def __init__(self):
        self.redis = redis.Redis.from_url(os.environ["REDIS_URL"])

    def published(self):
        """Returns the next message that a worker published, and the list that had it. Lists are
        searched in the order of their names.
        """
        for key in sorted(self.redis.scan_iter(count=1000)):
            name = key.decode()
            if name.split(SEPARATOR)[0] != RUN and not OWN.match(name) and self.redis.type(key) == b"list":
                message = self.redis.rpop(key)
                if message is not None:
                    return name, json.loads(message)
        return None

    def run(self, message):
        """Gives the message to the worker and waits until the worker has done all of it."""
        headers, properties = message["headers"], message["properties"]
        headers.update(eta=None, expires=None, ignore_result=False)
        properties["delivery_info"] = {"exchange": "", "routing_key": RUN}
        # A document exists if this task id was called before.
        self.redis.delete(f"celery-task-meta-{headers['id']}")
        self.redis.lpush(RUN, json.dumps(message))
        self.wait(headers["id"])

    def wait(self, id):
        deadline = time.monotonic() + WAIT
        while not self.is_done(id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{id} was not done within {WAIT} s")
            time.sleep(0.001)

    def is_done(self, id):
        document = self.redis.get(f"celery-task-meta-{id}")
        if document is None or json.loads(document)["status"] not in ("SUCCESS", "FAILURE"):
            return False
        # The worker publishes all follow-up messages before it acknowledges.
        return not self.redis.llen(RUN) and not self.redis.hlen("unacked")

    def documents(self):
        """Returns and deletes what was stored: results, and groups that were saved."""
        stored = {}
        for pattern in ("celery-task-meta-*", "celery-taskset-meta-*"):
            for key in self.redis.scan_iter(pattern, count=1000):
                name = key.decode()
                document = json.loads(self.redis.get(key)) if IDS.search(name).end() == len(name) else {}
                # Python revokes tasks that will not run. Workers may receive that at any time, so
                # the test ignores it.
                if document and document.get("status") != "REVOKED":
                    stored[name] = document
                self.redis.delete(key)
        return stored

    def dead_letters(self):
        letters = self.redis.xrange("celery.dead")
        self.redis.delete("celery.dead")
        return [{key.decode(): value.decode() for key, value in letter.items()} for _, letter in letters]


def seconds(time_of):
    """Returns the seconds from now, to the nearest hundred."""
    if not time_of:
        return time_of
    from dateutil.parser import isoparse

    moment = isoparse(time_of)
    return time_of if moment.year > 2035 else round((moment.timestamp() - time.time()) / 100) * 100


def tidy(signature):
    """Returns a signature without null options and empty members."""
    if isinstance(signature, list):
        return [tidy(it) for it in signature]
    if not isinstance(signature, dict):
        return signature
    kept = {name: tidy(value) for name, value in signature.items()}
    if "subtask_type" in kept:
        kept["options"] = {n: v for n, v in (kept.get("options") or {}).items() if v is not None and n != "reply_to"}
        if kept["subtask_type"] == "chain":
            # Python may write an inner chain as it is, or replace it by its steps. A call replaces
            # it.
            steps = (
                [it] if it.get("subtask_type") != "chain" else it["kwargs"]["tasks"] for it in kept["kwargs"]["tasks"]
            )
            kept["kwargs"] = {"tasks": list(itertools.chain.from_iterable(steps))}
    return kept


def described(queue, message):
    """Returns a message in a form that is equal for two workers."""
    headers, properties = message["headers"], message["properties"]
    body = base64.b64decode(message["body"])
    if headers.get("compression"):
        body = compression.decompress(body, headers["compression"])
    args, kwargs, embed = serialization.loads(
        body, message["content-type"], message["content-encoding"], accept=ACCEPTED
    )
    shown = dict(headers)
    for name in ("lang", "origin", "argsrepr", "kwargsrepr"):
        shown.pop(name)
    shown["eta"] = seconds(headers["eta"])
    shown["expires"] = seconds(headers["expires"])
    shown["ignore_result"] = bool(headers["ignore_result"])
    # Python writes an empty `shadow` only for tasks that it does not know.
    shown["shadow"] = headers["shadow"] or None
    way = {n: v for n, v in properties.items() if n not in ("delivery_tag", "correlation_id", "body_encoding")}
    if way.get("expiration"):
        way["expiration"] = round(int(way["expiration"]) / 1e5) * 100 if headers["expires"] != shown["expires"] else "?"
    try:
        way["priority"] = max(0, min(9, int(way["priority"])))
    except TypeError:
        way["priority"] = 0
    return {
        "list": queue,
        "type": message["content-type"],
        "headers": shown,
        "properties": way,
        "args": tidy(args),
        "kwargs": kwargs,
        # An empty list of callbacks calls nothing, like a missing one.
        "embed": {name: tidy(value) or None for name, value in embed.items()},
    }


def result(tuple):
    """Returns a result tuple without parents that are groups: Celery renames those groups later."""
    (id, parent), members = tuple
    parent = result(parent) if parent and parent[1] is None else None
    return [[id, parent], members and [result(member) for member in members]]


def document(doc):
    doc = {name: value for name, value in doc.items() if name != "date_done"}
    if "status" not in doc:
        return {"result": result(doc["result"])}
    doc["children"] = doc["children"] and [result(child) for child in doc["children"]]
    if doc.get("traceback"):
        doc["traceback"] = doc["traceback"].strip().splitlines()[-1]
    return doc


def transcript(broker, signature):
    while broker.published():
        pass  # the leftovers of a failed case
    signature.apply_async()
    messages = []
    while (published := broker.published()) is not None:
        queue, message = published
        messages.append(described(queue, message))
        if message["headers"]["task"] != TOLD:
            broker.run(message)
    numbers = {}

    def numbered(value):
        text = json.dumps(value, sort_keys=True)
        return json.loads(IDS.sub(lambda id: f"#{numbers.setdefault(id[0], len(numbers))}", text))

    messages = numbered(messages)
    stored = broker.documents()
    order = sorted(stored, key=lambda name: numbers.get(IDS.search(name)[0], len(numbers)))
    documents = numbered([[name, document(stored[name])] for name in order])
    return {"messages": messages, "documents": documents, "dead": numbered(broker.dead_letters())}


def cases():
    """Yields each case: its name, its builder, and whether a run without `--all` has it."""
    places = [(it, COMPOSITES) for it in PLACES.items()] + [(it, ERRBACKS) for it in PLACES_OF_ERRORS.items()]
    for at, ((where, place), composites) in enumerate(places):
        for turn, (what, composite) in enumerate(composites.items(), 5 * at):
            for number, (which, options) in enumerate(OPTIONS.items()):
                build = partial(build_case, place, composite, options)
                yield f"{where}: {what}: {which}", build, turn % len(OPTIONS) == number


def build_case(place, composite, options):
    return place(with_options(composite(), options()))


def main():
    parts = sys.argv[1:]
    broker = Broker()
    results = {}
    for name, build, is_selected in cases():
        if not (parts == ["--all"] or any(part in name for part in parts) or is_selected and not parts):
            continue
        try:
            signature = build()
        except Exception as error:
            # The signature cannot be written.
            results[name] = repr(error)
            continue
        try:
            results[name] = transcript(broker, signature)
            # With Python, a chord whose header has a second failed task does not end.
            where, what, _ = name.split(": ")
            results[name]["open"] = "of a header" in where and what in FAILING_HEADERS
        except Exception as error:
            results[name] = repr(error)
    json.dump(results, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.flush()
    # Results of groups log errors when Python frees them at exit.
    os._exit(0)


if __name__ == "__main__":
    main()
