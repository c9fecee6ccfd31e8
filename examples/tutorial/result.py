from celery.result import AsyncResult
from celery_app_task import cel

async_ = AsyncResult(id="e919d97d-2938-4d0f-9265-fd8237dc2aa3", app=cel)

if async_.successful():
    result = async_.get()
    print(result)
    # result.forget() # 将结果删除
elif async_.failed():
    print('执行失败')
elif async_.status == 'PENDING':
    print('任务等待中被执行')
elif async_.status == 'RETRY':
    print('任务异常后正在重试')
elif async_.status == 'STARTED':
    print('任务已经开始被执行')
