from django.db import models


class Order(models.Model):
    quantity = models.IntegerField()
    confirmed = models.BooleanField(default=False)
