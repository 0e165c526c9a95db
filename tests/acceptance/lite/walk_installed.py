"""pymilvus' own clients on `./x.db`, both kinds, after install(). Usage: walk_installed.py DIRECTORY"""

import asyncio
import os
import sys

from pymilvus import AsyncMilvusClient, MilvusClient

from elanus import lite

os.chdir(sys.argv[1])
lite.install()
lite.install()

client = MilvusClient("./x.db")
client.create_collection("notes", dimension=4, consistency_level="Strong")
client.insert("notes", [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(10)])
again = MilvusClient("./x.db")
assert again.query("notes", "id >= 8", ["id"]) == [{"id": 8}, {"id": 9}]


async def main() -> None:
    other = AsyncMilvusClient("./x.db")
    await other.insert("notes", [{"id": 10, "vector": [0.0, 0.0, 1.0, 0.0]}])
    answers = await asyncio.gather(
        *(other.search("notes", [[0.0, 0.0, 1.0, 0.0]], limit=1) for _ in range(20))
    )
    assert all(hits[0][0]["id"] == 10 for hits in answers)
    await other.close()

    async with lite.async_connect("./x.db") as mine:
        assert len(await mine.query("notes", "id >= 0", output_fields=["id"])) == 11
    async with lite.async_connect("./y") as mine:
        await mine.create_collection("more", dimension=4)


asyncio.run(main())
assert os.path.isdir("x.db")
assert client.query("notes", "id == 10", ["id"]) == [{"id": 10}]
client.close()
again.close()
lite.uninstall()
with lite.connect("y") as mine:
    assert mine.list_collections() == ["more"]
print("OK")
