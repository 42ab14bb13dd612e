"""azure-servicebus against the stand-in for Service Bus: service_bus.py PORT tcp|ws; a line a check."""
import datetime
import sys

from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
    TransportType,
)
from azure.servicebus.exceptions import MessageLockLostError, SessionCannotBeLockedError
from report import report

port, transport = sys.argv[1:3]
KEYS = "SharedAccessKeyName=any;SharedAccessKey=any;UseDevelopmentEmulator=true"
OPTIONS = {"retry_total": 0}
if transport == "ws":
    OPTIONS["transport_type"] = TransportType.AmqpOverWebsocket
    # Otherwise it takes port 80.
    OPTIONS["custom_endpoint_address"] = f"sb://127.0.0.1:{port}"
client = ServiceBusClient.from_connection_string(f"Endpoint=sb://127.0.0.1:{port};{KEYS}", **OPTIONS)


def text(message):
    return b"".join(message.body).decode()


def take(receiver, count):
    found = []
    while len(found) < count:
        got = receiver.receive_messages(max_message_count=count - len(found), max_wait_time=2)
        if not got:
            break
        found += got
    return found


def send_and_batch():
    with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
        sender.send_messages(ServiceBusMessage("one", application_properties={"a": 1}))
        batch = sender.create_message_batch()
        for body in ["two", "three", "four"]:
            batch.add_message(ServiceBusMessage(body))
        sender.send_messages(batch)
        sender.send_messages([ServiceBusMessage("five"), ServiceBusMessage("six")])
        names = ["one", "two", "three", "four", "five", "six"]
        assert [text(m) for m in receiver.peek_messages(10)] == names
        found = take(receiver, 6)
        assert [text(m) for m in found] == names, found
        assert found[0].application_properties == {b"a": 1}, found[0].application_properties
        for message in found:
            receiver.complete_message(message)
        assert receiver.peek_messages(10) == []


def settle():
    with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
        sender.send_messages([ServiceBusMessage(body) for body in ["b", "c", "d", "e"]])
        b, c, d, e = take(receiver, 4)
        receiver.abandon_message(b)
        receiver.dead_letter_message(c, reason="bad", error_description="very")
        receiver.defer_message(d)
        receiver.complete_message(e)
        (again,) = take(receiver, 1)
        assert (text(again), again.delivery_count) == ("b", 1), (text(again), again.delivery_count)
        receiver.complete_message(again)
        (deferred,) = receiver.receive_deferred_messages(d.sequence_number)
        assert text(deferred) == "d"
        receiver.complete_message(deferred)
    with client.get_queue_receiver("orders", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        (letter,) = take(dead, 1)
        assert (text(letter), letter.dead_letter_reason) == ("c", "bad"), letter
        assert letter.dead_letter_error_description == "very"
        dead.complete_message(letter)


def renew():
    with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
        sender.send_messages(ServiceBusMessage("r"))
        (message,) = take(receiver, 1)
        before = message.locked_until_utc
        after = receiver.renew_message_lock(message)
        assert after >= before and message.locked_until_utc == after, (before, after)
        receiver.complete_message(message)


def lock_lost():
    with client.get_queue_sender("quick") as sender, client.get_queue_receiver("quick") as receiver:
        sender.send_messages(ServiceBusMessage("q"))
        (message,) = take(receiver, 1)
        (again,) = take(receiver, 1)
        assert again.delivery_count == 1
        try:
            receiver.renew_message_lock(message)
            raise AssertionError("a lock that is lost was renewed")
        except MessageLockLostError:
            pass
        receiver.complete_message(again)


def schedule():
    with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
        now = datetime.datetime.now(datetime.timezone.utc)
        sender.schedule_messages(ServiceBusMessage("later"), now + datetime.timedelta(seconds=0.3))
        (later,) = take(receiver, 1)
        assert text(later) == "later"
        receiver.complete_message(later)
        (never,) = sender.schedule_messages(ServiceBusMessage("never"), now + datetime.timedelta(hours=1))
        sender.cancel_scheduled_messages(never)
        assert receiver.peek_messages(10) == []


def sessions():
    with client.get_queue_sender("talks") as sender:
        sender.send_messages([
            ServiceBusMessage("a1", session_id="a"),
            ServiceBusMessage("b1", session_id="b"),
            ServiceBusMessage("a2", session_id="a"),
        ])
    with client.get_queue_receiver("talks", session_id="a") as receiver:
        found = take(receiver, 2)
        assert [text(m) for m in found] == ["a1", "a2"], found
        receiver.session.set_state("half")
        assert receiver.session.get_state() == b"half", receiver.session.get_state()
        assert receiver.session.renew_lock() is not None
        try:
            with client.get_queue_receiver("talks", session_id="a") as other:
                other.receive_messages(max_wait_time=1)
            raise AssertionError("a session was locked twice")
        except SessionCannotBeLockedError:
            pass
        for message in found:
            receiver.complete_message(message)
    with client.get_queue_receiver("talks", session_id=NEXT_AVAILABLE_SESSION) as receiver:
        (message,) = take(receiver, 1)
        assert (text(message), receiver.session.session_id) == ("b1", "b")
        receiver.complete_message(message)


def receive_and_delete():
    with client.get_queue_sender("orders") as sender:
        sender.send_messages([ServiceBusMessage("x"), ServiceBusMessage("y")])
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with client.get_queue_receiver("orders", receive_mode=mode) as receiver:
        assert [text(m) for m in take(receiver, 2)] == ["x", "y"]
        assert receiver.peek_messages(10) == []


def loop():
    with client.get_queue_sender("orders") as sender:
        sender.send_messages([ServiceBusMessage(str(n)) for n in range(200)])
    seen = []
    with client.get_queue_receiver("orders", prefetch_count=50, max_wait_time=5) as receiver:
        for message in receiver:
            seen.append(text(message))
            receiver.complete_message(message)
            if len(seen) == 200:
                break
    assert seen == [str(n) for n in range(200)], seen


CHECKS = {
    "send, batch, peek": send_and_batch,
    "complete, abandon, dead-letter, defer": settle,
    "renew lock": renew,
    "lock that runs out": lock_lost,
    "schedule, cancel": schedule,
    "sessions": sessions,
    "receive and delete": receive_and_delete,
    "200 with prefetch": loop,
}
report(CHECKS, only=sys.argv[3:])
client.close()
