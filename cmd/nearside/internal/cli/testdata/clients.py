"""Asks a running nearside serve as applications in Python do: clients.py PORT."""
import asyncio
import json
import sys

import redis
import redis.asyncio

port = int(sys.argv[1])
ADA = {"id": 42, "name": "Margaret Hamilton"}


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def plain():
    r = redis.Redis(port=port, decode_responses=True)
    check("get", json.loads(r.get("user:42")), ADA)
    check("an absent row", r.get("user:0"), None)
    check("mget", [v and json.loads(v)["id"] for v in r.mget("user:1", "user:0", "user:2")], [1, None, 2])
    check("ttl", 0 < r.ttl("user:42") <= 3600, True)
    check("exists", r.exists("user:42", "user:0"), 1)
    check("type", r.type("user:42"), "string")
    check("a list of the application", (r.rpush("py:list", "a", "b"), r.lrange("py:list", 0, -1)), (2, ["a", "b"]))
    check("a hash", (r.hset("py:hash", mapping={"f": "v"}), r.hgetall("py:hash")), (1, {"f": "v"}))
    info = r.info()
    check("hits are counted", info["keyspace_hits"] > 0, True)
    user = info["cache_user"]
    check("those of a cache too", user["near"] + user["store"] + user["negative"] > 0 and user["load_ok"] > 0 and user["load_p99_us"] > 0, True)
    check("whether Redis is asked", info["node0"]["breaker"], "closed")
    p = r.pipeline(transaction=False)
    p.get("user:42").set("py:n", 1).incr("py:n").get("user:43")
    got = p.execute()
    check("a pipeline of both", (json.loads(got[0]), got[1], got[2], json.loads(got[3])["id"]), (ADA, True, 2, 43))
    p = r.pipeline()  # MULTI
    p.get("user:42").get("user:43").ttl("user:42")
    got = p.execute()
    check("a transaction of reads", (json.loads(got[0]), json.loads(got[1])["id"], got[2] > 0), (ADA, 43, True))
    p = r.pipeline()
    p.incr("py:n").incr("py:n")
    check("a transaction of the application", p.execute(), [3, 4])
    check("a hash of the database", r.hget("product:7", "id"), "7")
    check("its fields", list(r.hgetall("product:7")), ["id", "name", "price"])
    friends = r.smembers("friends:42")
    check("a set", isinstance(friends, set) and len(friends) > 0, True)
    top = r.zrevrange("leaderboard:chess", 0, 9, withscores=True)
    check("a sorted set", (len(top), isinstance(top[0][1], float), top == sorted(top, key=lambda m: (-m[1], m[0]))), (10, True, True))
    p = r.pipeline()  # MULTI
    p.hgetall("product:7").smembers("friends:42").lrange("actions:42", 0, 9).zscore("leaderboard:chess", top[0][0])
    p.zrevrank("leaderboard:chess", top[0][0]).sismember("friends:42", "0").llen("actions:42")
    got = p.execute()
    check("a transaction about shapes", (got[0]["id"], got[1], got[3], got[4], bool(got[5]), len(got[2])), ("7", friends, top[0][1], 0, False, got[6]))
    check("scan", set(r.sscan_iter("friends:42")), friends)
    try:
        r.sadd("friends:42", "x")
        sys.exit("SADD was answered")
    except redis.ResponseError as e:
        check("a refused write says what to do", "DEL the key" in str(e), True)
    check("delete", r.delete("user:42", "py:n", "py:list", "py:hash"), 4)
    try:
        r.execute_command("WATCH", "x")
        sys.exit("WATCH was answered")
    except redis.ResponseError:
        pass


async def asynchronous():
    r = redis.asyncio.Redis(port=port, decode_responses=True)
    got = await asyncio.gather(*(r.get(f"user:{i}") for i in range(1, 101)))
    check("100 at once", [json.loads(v)["id"] for v in got], list(range(1, 101)))
    async with r.pipeline(transaction=True) as p:
        got = await p.get("user:42").get("user:0").execute()
    check("a transaction", (json.loads(got[0]), got[1]), (ADA, None))
    await r.close()


plain()
asyncio.run(asynchronous())
print("all good")
