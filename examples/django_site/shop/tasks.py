from django_tasks import task

from shop.models import Order
from umbel import shared_task


@shared_task
def confirm(order_id: int) -> int:
    """Sent when the order is committed, so it is there."""
    order = Order.objects.get(pk=order_id)
    order.confirmed = True
    order.save()
    return order.quantity


@task(queue_name="celery")
def total() -> int:
    """One of Django's own tasks."""
    return sum(Order.objects.filter(confirmed=True).values_list("quantity", flat=True))


@task(queue_name="celery", takes_context=True)
def fail(context, why: str) -> None:
    raise ValueError(f"{why}, try {context.attempt}")
