"""Measures a cache backend of Django, a little whenever it is told to, so that it can take turns with others.

The one argument is an entry of Django's CACHES as JSON; what it has as DATABASE is one of DATABASES, and with ENTRIES the cache has that many from the
start. Each line of the input is a JSON object: `count` operations of
`case`, by `threads`, with values of `value_bytes`. The answer is a line, too: `{"seconds": 0.04}`, all threads together, by the
clock; for `set_full` also the `median` and the `longest` operation. The first line says `{"seconds": 0}` when the backend works.
"""

import itertools
import json
import statistics
import sys
import threading
import time

import django
from django.conf import settings

KEYS = 1000
MANY = 100
LIFETIME = 3600
# The numbers of keys that are absent.
ABSENT = itertools.count()
# Neighbours in time are none in the cache.
STEP = 7919


def value(size):
    """A dictionary whose JSON has so many bytes."""
    res = {"id": 42, "name": "Ada", "text": ""}
    res["text"] = "x" * (size - len(json.dumps(res)))
    return res


def operations(size, keys):
    """For each case, what makes the n-th operation of a cache."""
    one = value(size)
    names = ["key%d" % (n * STEP % keys) for n in range(keys)]
    batches = [names[n : n + MANY] for n in range(0, KEYS, MANY)]
    items = [dict.fromkeys(it, one) for it in batches]
    return {
        "get": lambda cache, n: cache.get(names[n % keys]),
        "set": lambda cache, n: cache.set(names[n % keys], one, LIFETIME),
        "get_many_100": lambda cache, n: cache.get_many(batches[n % len(batches)]),
        "set_many_100": lambda cache, n: cache.set_many(items[n % len(items)], LIFETIME),
        "incr": lambda cache, n: cache.incr("counter"),
        "get_or_set": lambda cache, n: cache.get_or_set("absent%d" % next(ABSENT), one, LIFETIME),
        "lock": lock,
    }


def lock(cache, n):
    """A lock of django-redis that is free, taken and released."""
    with cache.lock("job%d" % (n % KEYS), timeout=LIFETIME):
        pass


def prepare(cache, size):
    """What the cases find: a value for each key, of which they miss none."""
    one = value(size)
    items = {"key%d" % n: one for n in range(KEYS)}
    # Django's files take milliseconds each.
    if cache.get_many(items) != items:
        for n in range(0, KEYS, MANY):
            cache.set_many({"key%d" % it: one for it in range(n, n + MANY)}, LIFETIME)
    cache.set("counter", 0, LIFETIME)
    found = cache.get_many(["key%d" % n for n in range(MANY)])
    if len(found) != MANY or found["key0"] != one or cache.get("key%d" % (KEYS - 1)) != one:
        sys.exit("the cache does not keep what it is given")


def fill(cache, entries, one):
    """That many entries. Django lists its folder for each write, so its files are made by the part of it that writes a file."""
    names = ["key%d" % n for n in range(entries)]
    if is_files(cache):
        cache._createdir()
        for name in names:
            with open(cache._key_to_file(name), "wb") as file:
                cache._write_content(file, LIFETIME, one)
    else:
        for n in range(0, entries, KEYS):
            with cache._cache.transact():
                for name in names[n : n + KEYS]:
                    cache.set(name, one, LIFETIME)
    for name in names[:: max(entries // KEYS, 1)]:
        if cache.get(name) != one:
            sys.exit("the cache does not find what it was filled with")


def is_files(cache):
    """Whether it is Django's own; else it is diskcache's."""
    return hasattr(cache, "_write_content")


def bound(cache, entries):
    """From now on there is no room for more."""
    if is_files(cache):
        cache._max_entries = entries
    else:
        for shard in cache._cache._shards:
            shard.reset("size_limit", shard.volume())


def set_full(cache, names, one, count, seconds, least):
    """New keys, so many or for so long, each timed alone."""
    times = []
    end = time.perf_counter() + seconds
    while len(times) < count and (len(times) < least or time.perf_counter() < end):
        name = next(names)
        start = time.perf_counter()
        cache.set(name, one, LIFETIME)
        times.append(time.perf_counter() - start)
    return {"seconds": sum(times), "median": statistics.median(times), "longest": max(times)}


def run(operation, first, count, threads):
    """From the `first` on. How many seconds so many operations take, from when the first thread began to when the last was done."""
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
            for n in range(first + thread, first + thread + share):
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


def answer(figures):
    print(json.dumps(figures), flush=True)


def main():
    cache = caches["default"]
    if entries is None:
        prepare(cache, 100)
    else:
        fill(cache, entries, value(100))
    answer({"seconds": 0})
    prepared = None
    new = ("new%d" % n for n in itertools.count())
    for line in sys.stdin:
        asked = json.loads(line)
        case, size, count = asked["case"], asked["value_bytes"], asked["count"]
        if prepared != (case, size):
            if entries is None:
                prepare(cache, size)
            elif case == "set_full":
                bound(cache, entries)
            prepared = (case, size)
            operation = operations(size, entries or KEYS).get(case)
            first = 0
        if case == "set_full":
            answer(set_full(cache, new, value(size), count, asked["seconds"], asked["least"]))
        else:
            answer({"seconds": run(operation, first, count, asked["threads"])})
            first += count


backend = json.loads(sys.argv[1])
entries = backend.pop("ENTRIES", None)
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
