from django.core.management.base import BaseCommand
from django.db import transaction

from shop.models import Order
from shop.tasks import confirm, total


class Command(BaseCommand):
    help = "Order something."

    def add_arguments(self, parser):
        parser.add_argument("quantity", type=int)

    def handle(self, *_, quantity, **__):
        with transaction.atomic():
            order = Order.objects.create(quantity=quantity)
            confirm.delay_on_commit(order.pk)
        result = total.enqueue()
        self.stdout.write(f"order {order.pk}; the total is asked for as {result.id}")
