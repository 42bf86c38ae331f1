"""Measures a cache backend of Django, a little whenever it is told to, so that it can take turns with others.

The one argument is an entry of Django's CACHES as JSON; what it has as DATABASE is one of DATABASES. Each line of the input is a JSON object: `count` operations of
`case`, by `threads`, with values of `value_bytes`. The answer is a line, too: `{"seconds": 0.04}`, all threads together, by the
clock. The first line says `{"seconds": 0}` when the backend works.
"""

import json
import sys
import threading
import time

import django
from django.conf import settings

KEYS = 1000
MANY = 100


def value(size):
    """A dictionary whose JSON has so many bytes."""
    res = {"id": 42, "name": "Ada", "text": ""}
    res["text"] = "x" * (size - len(json.dumps(res)))
    return res


def operations(size):
    """For each case, what makes the n-th operation of a cache."""
    one = value(size)
    names = ["key%d" % n for n in range(KEYS)]
    batches = [names[n : n + MANY] for n in range(0, KEYS, MANY)]
    items = [dict.fromkeys(it, one) for it in batches]
    return {
        "get": lambda cache, n: cache.get(names[n % KEYS]),
        "set": lambda cache, n: cache.set(names[n % KEYS], one, 300),
        "get_many_100": lambda cache, n: cache.get_many(batches[n % len(batches)]),
        "set_many_100": lambda cache, n: cache.set_many(items[n % len(items)], 300),
        "incr": lambda cache, n: cache.incr("counter"),
    }


def prepare(cache, size):
    """What the cases find: a value for each key, of which they miss none."""
    one = value(size)
    for n in range(0, KEYS, MANY):
        cache.set_many({"key%d" % it: one for it in range(n, n + MANY)}, 300)
    cache.set("counter", 0, 300)
    found = cache.get_many(["key%d" % n for n in range(MANY)])
    if len(found) != MANY or found["key0"] != one or cache.get("key%d" % (KEYS - 1)) != one:
        sys.exit("the cache does not keep what it is given")


def run(operation, count, threads):
    """How many seconds so many operations take, from when the first thread began to when the last was done."""
    # Django has a cache object, and with it a connection, for each thread; making it is not measured.
    barrier = threading.Barrier(threads)
    share = max(count // threads, 1)
    times = [None] * threads

    def work(thread):
        try:
            cache = caches["default"]
            operation(cache, thread)
            barrier.wait()
            start = time.perf_counter()
            for n in range(thread, thread + share):
                operation(cache, n)
            times[thread] = (start, time.perf_counter())
        except BaseException:
            # The others would wait for this one for ever.
            barrier.abort()
            raise
        finally:
            # A server has room for so many, and threads that are gone do not close theirs.
            if threads > 1:
                connections.close_all()

    if threads == 1:
        work(0)
    else:
        running = [threading.Thread(target=work, args=(it,)) for it in range(threads)]
        for it in running:
            it.start()
        for it in running:
            it.join()
    if None in times:
        sys.exit("an operation failed")
    took = max(end for _, end in times) - min(start for start, _ in times)
    return took * count / (share * threads)


def answer(seconds):
    print(json.dumps({"seconds": seconds}), flush=True)


def main():
    prepare(caches["default"], 100)
    answer(0)
    prepared = None
    for line in sys.stdin:
        asked = json.loads(line)
        case, size = asked["case"], asked["value_bytes"]
        if prepared != (case, size):
            prepare(caches["default"], size)
            prepared = (case, size)
            operation = operations(size)[case]
        answer(run(operation, asked["count"], asked["threads"]))


backend = json.loads(sys.argv[1])
database = backend.pop("DATABASE", None)
databases = {} if database is None else {"default": database}
settings.configure(CACHES={"default": backend}, DATABASES=databases, USE_TZ=True)
django.setup()
if database is not None:
    from django.core.management import call_command

    call_command("createcachetable", verbosity=0)

# They read the settings.
from django.core.cache import caches  # noqa: E402
from django.db import connections  # noqa: E402

main()
