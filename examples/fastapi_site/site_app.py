"""A site that hands reports over and shows what became of them: uvicorn site_app:site"""

from typing import Annotated

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from tasks import app, make_report

from umbel import OperationalError

site = FastAPI()


class Order(BaseModel):
    title: str
    pages: Annotated[int, Field(ge=1, le=100)] = 3


@site.post("/reports", status_code=202)
async def order_report(order: Order) -> dict:
    """Hand it over; the answer comes as soon as the broker holds it."""
    try:
        result = await make_report.adelay(order.title, order.pages)
    except OperationalError as error:
        raise HTTPException(503, "Reports cannot be ordered now; try again soon.") from error
    return {"id": result.id, "look": f"/reports/{result.id}"}


@site.get("/reports/{report_id}")
def look_at_report(report_id: str) -> dict:
    """Say how far it is, or what it became."""
    result = app.AsyncResult(report_id)
    if result.successful():
        return {"state": "done", "report": result.result}
    if result.failed():
        return {"state": "failed", "error": str(result.result)}
    progress = result.info if result.state == "PROGRESS" else None
    return {"state": "under way" if progress else "ordered", "progress": progress}
