"""Does by hand what the layer does: by_hand.py PORT DATABASE ID... prints for each row where it came from, and the row."""
import json
import sqlite3
import sys

import redis

r = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
db = sqlite3.connect(sys.argv[2])
for id in sys.argv[3:]:
    key = f"user:{id}"
    text = r.get(key)
    source = "redis"
    if text is None:
        source = "database"
        row = db.execute("SELECT id, name FROM users WHERE id = ?", (id,)).fetchone()
        text = json.dumps({"id": row[0], "name": row[1]})
        r.setex(key, 3600, text)
    print(source, json.loads(text)["name"], 0 < r.ttl(key) <= 3600)
