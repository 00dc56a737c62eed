"""Hooks for Schemathesis: data that fits the document goes to a real session, where it is more than an unknown id."""

import os

import schemathesis
from schemathesis.generation import GenerationMode

SESSION = os.environ["BERTH_TEST_SESSION"]


@schemathesis.hook
def before_call(context, case, kwargs):
    fits = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if not fits or case.operation.definition.raw["operationId"].startswith("releaseSession"):
        return
    for place in (case.body, case.query, case.path_parameters):
        if isinstance(place, dict):
            place.update({name: SESSION for name in ("sessionId", "session") if name in place})
