"""Checks a broker by Proton of PyPI, which brings its C core; a line a check."""

import sys
from functools import partial
from threading import Event

from proton import Delivery, Message, symbol
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import AtMostOnce, Container, Copy, DurableSubscription, Selector
from proton.utils import BlockingConnection, LinkDetached
from report import report

URL = sys.argv[1]


def same(what, got, want):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def node(name):
    return "py-" + name.replace(" ", "-")


def bodies(connection, address, count, **options):
    receiver = connection.create_receiver(address, **options)
    found = []
    for _ in range(count):
        # Bytes are a view of the message, which has to be kept as long.
        message = receiver.receive(timeout=20)
        found.append(bytes(message.body) if isinstance(message.body, memoryview) else message.body)
        receiver.accept()
    receiver.close()
    return found


def send(connection, address, *messages):
    sender = connection.create_sender(address)
    for message in messages:
        sender.send(message if isinstance(message, Message) else Message(body=message), timeout=20)
    sender.close()


def bodies_of_all_kinds(connection, name):
    values = ["é", 1.5, True, None, b"\x00\xff", {"k": [1, "two"]}, [1, "x"], 2**62]
    send(connection, name, *values)
    same("bodies", bodies(connection, name, len(values)), values)


def properties(connection, name):
    send(connection, name, Message(id=7, correlation_id="c", subject="s", ttl=60, priority=9, durable=True,
                                   properties={"text": "é", "n": 5}, annotations={symbol("x-opt-k"): "v"}, body="x"))
    receiver = connection.create_receiver(name)
    message = receiver.receive(timeout=20)
    receiver.accept()
    same("id", message.id, 7)
    same("subject", message.subject, "s")
    same("priority", message.priority, 9)
    same("properties", dict(message.properties), {"text": "é", "n": 5})
    same("annotation", message.annotations[symbol("x-opt-k")], "v")


def large(connection, name):
    body = bytes(range(256)) * 40_000
    send(connection, name, body)
    same("equal", bodies(connection, name, 1) == [body], True)


def outcomes(connection, name):
    send(connection, name, "a")
    receiver = connection.create_receiver(name, credit=1)
    receiver.receive(timeout=20)
    receiver.release(delivered=False)
    same("delivery count after release", receiver.receive(timeout=20).delivery_count, 0)
    receiver.release(delivered=True)
    # What Proton calls delivered is `modified` without delivery-failed, which does not count [messaging 3.4.5].
    same("delivery count after modified", receiver.receive(timeout=20).delivery_count, 0)
    receiver.reject()
    receiver.close()


def selector(connection, name):
    send(connection, name, *[Message(body=str(n), properties={"n": n}) for n in range(1, 5)])
    same("selected", bodies(connection, name, 2, options=Selector("n > 2")), ["3", "4"])


def browse(connection, name):
    send(connection, name, "a", "b")
    same("browsed", bodies(connection, name, 2, options=Copy()), ["a", "b"])
    same("still there", bodies(connection, name, 2), ["a", "b"])


def settled(connection, name):
    sender = connection.create_sender(name, options=AtMostOnce())
    for n in range(500):
        sender.send(Message(body=n))
    same("received", bodies(connection, name, 500), list(range(500)))


def refused(connection, name):
    try:
        connection.create_sender("alice/private")
    except LinkDetached as error:
        same("condition", error.condition, "amqp:unauthorized-access")
        return
    raise AssertionError("nothing was refused")


def durable(connection, name):
    first = BlockingConnection(URL, container_id="py-durable", timeout=20)
    receiver = first.create_receiver(name, name="sub", options=DurableSubscription())
    receiver.detach()
    first.close()
    again = BlockingConnection(URL, container_id="py-durable", timeout=20)
    receiver = again.create_receiver(name, name="sub", options=DurableSubscription())
    receiver.close()
    again.close()


class Transfer(MessagingHandler, TransactionHandler):
    """Sends three messages in one transaction and ends it."""

    def __init__(self, name, commit):
        super().__init__()
        self.name, self.commit, self.transaction, self.error, self.confirmed = name, commit, None, None, 0

    def on_start(self, event):
        self.container = event.container
        self.connection = event.container.connect(URL, reconnect=False)
        self.sender = event.container.create_sender(self.connection, self.name)
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        self.send_all()

    def on_sendable(self, event):
        self.send_all()

    def send_all(self):
        if self.transaction is None or self.sender.credit < 3 or self.confirmed:
            return
        self.confirmed = 1
        for n in range(3):
            self.transaction.send(self.sender, Message(body=n))
        if self.commit:
            self.transaction.commit()
        else:
            self.transaction.abort()

    def on_transaction_committed(self, event):
        self.connection.close()

    on_transaction_aborted = on_transaction_committed

    def on_transaction_declare_failed(self, event):
        self.error = "declare failed"
        self.connection.close()

    def on_transaction_commit_failed(self, event):
        self.error = "commit failed"
        self.connection.close()


def transactions(connection, name):
    for commit in (False, True):
        transfer = Transfer(name, commit)
        Container(transfer).run()
        same("error", transfer.error, None)
    same("received", bodies(connection, name, 3), [0, 1, 2])


CHECKS = {
    "bodies of all kinds": bodies_of_all_kinds,
    "properties": properties,
    "10 MB": large,
    "outcomes": outcomes,
    "selector": selector,
    "browse": browse,
    "500 settled": settled,
    "refused address": refused,
    "durable subscription": durable,
    "transactions": transactions,
}


def connected(name, check):
    connection = BlockingConnection(URL, timeout=20)
    check(connection, node(name))
    connection.close()


report({name: partial(connected, name, check) for name, check in CHECKS.items()})
