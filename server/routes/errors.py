"""Pydantic models of the API's error responses, and their examples for `/docs`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """An error: one sentence that says what is wrong."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"detail": "There is no call with this id."}]}
    )

    detail: str


class Mistake(BaseModel):
    """An invalid field of a request. Its value is not echoed."""

    loc: list[str | int] = Field(examples=[["body", "phone_number"]])
    msg: str
    type: str


class Invalid(BaseModel):
    """An invalid request: one sentence, or a list of invalid fields."""

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
