"""Pydantic models of the API's error responses, and their examples for `/docs`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Every error: one sentence that says what is wrong."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"detail": "There is no call with this id."}]}
    )

    detail: str


class Mistake(BaseModel):
    """What is wrong at one place of a request. What came there is not repeated."""

    loc: list[str | int] = Field(examples=[["body", "phone_number"]])
    msg: str
    type: str


class Invalid(BaseModel):
    """What is wrong with a request, in a sentence or place by place."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": [
                        {
                            "loc": ["body", "phone_number"],
                            "msg": "must be a number with its country code, such as +15550100123",
                            "type": "value_error",
                        }
                    ]
                }
            ]
        }
    )

    detail: str | list[Mistake]


def problem(says: str, detail: str) -> dict[str, Any]:
    """Document an error in a route's `responses`; `detail` is the example that `/docs` shows."""
    example = {"application/json": {"example": {"detail": detail}}}
    return {"model": Problem, "description": says, "content": example}
