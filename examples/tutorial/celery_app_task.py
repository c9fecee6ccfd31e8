import celery
import time

# broker = 'redis://127.0.0.1:6379/2' 不加密码
backend = 'redis://:123456@127.0.0.1:6379/1'
broker  = 'redis://:123456@127.0.0.1:6379/2'
cel     = celery.Celery('test',backend=backend,broker=broker)

@cel.task
def add(x, y):
    return x+y
