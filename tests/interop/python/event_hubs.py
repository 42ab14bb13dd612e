"""azure-eventhub against the stand-in for Event Hubs: event_hubs.py PORT tcp|ws; a line a check."""
import datetime
import sys
import threading

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, TransportType
from azure.eventhub.exceptions import EventHubError
from report import report

port, transport = sys.argv[1:3]
CONNECTION = f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true"
OPTIONS = {"eventhub_name": "events", "retry_total": 0}
if transport == "ws":
    OPTIONS["transport_type"] = TransportType.AmqpOverWebsocket
    # Otherwise it takes port 80.
    OPTIONS["custom_endpoint_address"] = f"sb://127.0.0.1:{port}"


def producer():
    return EventHubProducerClient.from_connection_string(CONNECTION, **OPTIONS)


class Reader:
    """Reads one partition on a thread until `count` events or an error are there."""

    def __init__(self, count, partition="0", **options):
        self.events, self.error, self.done = [], None, threading.Event()
        self.count = count
        self.client = EventHubConsumerClient.from_connection_string(CONNECTION, "$Default", **OPTIONS)
        options = {"starting_position": "-1", "max_wait_time": 0.2, **options}
        self.thread = threading.Thread(target=self.run, args=[partition, options], daemon=True)
        self.thread.start()

    def run(self, partition, options):
        self.client.receive(self.take, partition_id=partition, on_error=self.fail, **options)

    def take(self, context, event):
        if event is None:
            return
        self.events.append(event)
        self.told = context.last_enqueued_event_properties
        if len(self.events) >= self.count:
            self.done.set()

    def fail(self, context, error):
        self.error = error
        self.done.set()

    def wait(self):
        assert self.done.wait(20), f"{len(self.events)} of {self.count} events came"
        return self.events

    def close(self):
        self.client.close()
        self.thread.join(10)


def read(count, **options):
    reader = Reader(count, **options)
    events = reader.wait()
    reader.close()
    assert reader.error is None, reader.error
    return events


def texts(events):
    return [event.body_as_str() for event in events]


def same(got, want):
    assert got == want, f"{got!r} is not {want!r}"


def properties():
    with producer() as client:
        found = client.get_eventhub_properties()
        same((found["eventhub_name"], found["partition_ids"]), ("events", ["0", "1"]))
        now = datetime.datetime.now(datetime.timezone.utc)
        assert abs((now - found["created_at"]).total_seconds()) < 60, found
        found = client.get_partition_properties("1")
        same((found["id"], found["is_empty"], found["last_enqueued_sequence_number"]), ("1", True, -1))


def batches():
    with producer() as client:
        client.send_event(EventData("zero"), partition_id="0")
        batch = client.create_batch(partition_id="0")
        for body in ["one", "two"]:
            event = EventData(body)
            event.properties = {"colour": "red", "size": 5}
            event.message_id = f"id-{body}"
            batch.add(event)
        client.send_batch(batch)
        client.send_batch([EventData("three")], partition_id="0")
        found = client.get_partition_properties("0")
        same((found["beginning_sequence_number"], found["last_enqueued_sequence_number"]), (0, 3))
        same(found["is_empty"], False)
    events = read(4)
    same(texts(events), ["zero", "one", "two", "three"])
    same([event.sequence_number for event in events], [0, 1, 2, 3])
    same(events[1].properties, {b"colour": b"red", b"size": 5})
    same(events[1].message_id, "id-one")
    assert abs((events[0].enqueued_time - found["last_enqueued_time_utc"]).total_seconds()) < 30


def positions():
    events = read(4)
    after = {"starting_position": events[1].offset}
    same(texts(read(2, **after)), ["two", "three"])
    same(texts(read(3, starting_position_inclusive=True, **after)), ["one", "two", "three"])
    same(texts(read(1, starting_position=2)), ["three"])
    before = events[0].enqueued_time - datetime.timedelta(seconds=1)
    same(texts(read(4, starting_position=before)), ["zero", "one", "two", "three"])
    started = threading.Event()
    latest = Reader(1, starting_position="@latest", on_partition_initialize=lambda _: started.set())
    assert started.wait(20)
    with producer() as client:
        # Its link may be attached after the first ones; over WebSocket it tells of none before none has come for 1 s.
        number = 0
        while not latest.done.wait(3):
            client.send_event(EventData(f"new {number}"), partition_id="0")
            number += 1
            assert number < 7
    assert texts(latest.events)[0].startswith("new "), texts(latest.events)
    latest.close()


def keys():
    with producer() as client:
        counts = [client.get_partition_properties(id)["last_enqueued_sequence_number"] for id in ["0", "1"]]
        for body in ["k1", "k2", "k3"]:
            client.send_batch([EventData(body)], partition_key="customer-7")
        after = [client.get_partition_properties(id)["last_enqueued_sequence_number"] for id in ["0", "1"]]
        grown = [now - before for before, now in zip(counts, after)]
        assert sorted(grown) == [0, 3], grown
    where = grown.index(3)
    events = read(3, partition=str(where), starting_position=counts[where])
    same([event.partition_key for event in events], [b"customer-7"] * 3)


def tracked():
    reader = Reader(1, track_last_enqueued_event_properties=True)
    reader.wait()
    reader.close()
    with producer() as client:
        found = client.get_partition_properties("0")
    same(reader.told["sequence_number"], found["last_enqueued_sequence_number"])
    same(reader.told["offset"], found["last_enqueued_offset"])


def owners():
    holder = Reader(1, owner_level=1)
    holder.wait()
    lower = Reader(1, owner_level=0)
    lower.wait()
    assert isinstance(lower.error, EventHubError) and "epoch 1" in str(lower.error), lower.error
    holder.done.clear()
    holder.count = float("inf")
    higher = Reader(1, owner_level=2)
    higher.wait()
    assert higher.error is None, higher.error
    holder.wait()
    assert isinstance(holder.error, EventHubError) and "epoch 2" in str(holder.error), holder.error
    for reader in [holder, lower, higher]:
        reader.close()


def large():
    with producer() as client:
        start = client.get_partition_properties("1")["last_enqueued_sequence_number"]
        client.send_event(EventData("x" * 200_000), partition_id="1")
    (event,) = read(1, partition="1", starting_position=start)
    same(event.body_as_str(), "x" * 200_000)


def unknown():
    with producer() as client:
        ask = lambda: client.get_partition_properties("9")
        send = lambda: client.send_event(EventData("x"), partition_id="9")
        for what in [ask, send]:
            try:
                what()
            except EventHubError:
                continue
            raise AssertionError("a partition that is not there was found")


def many():
    with producer() as client:
        start = client.get_partition_properties("1")["last_enqueued_sequence_number"]
        batch = client.create_batch(partition_id="1")
        for number in range(1000):
            batch.add(EventData(str(number)))
        client.send_batch(batch)
    same(texts(read(1000, partition="1", starting_position=start)), [str(number) for number in range(1000)])


CHECKS = {
    "properties": properties,
    "single, batch, list": batches,
    "positions": positions,
    "partition key": keys,
    "last enqueued": tracked,
    "owners": owners,
    "unknown partition": unknown,
    "batch of 1,000": many,
    "200,000 bytes": large,
}
report(CHECKS, only=sys.argv[3:])
