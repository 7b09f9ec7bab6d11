"""What happens when an unmodified mlflow client tries to move a closed target."""

import pytest
from mlflow.exceptions import MlflowException

from tests.house import ONE_APPROVAL, House


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def test_a_refusal_opens_one_request_and_says_what_is_missing(house: House) -> None:
    model = house.new_model()
    messages = []
    with house.acting_as("junior") as client:
        for _ in range(2):
            with pytest.raises(MlflowException) as refused:
                client.transition_model_version_stage(model, "1", "Production")
            assert refused.value.error_code == "PERMISSION_DENIED"
            assert refused.value.get_http_status_code() == 403
            messages.append(refused.value.message)
        assert client.get_model_version(model, "1").current_stage == "None"
    found = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    assert [(r["requester"], r["target"], r["state"]) for r in found] == [("junior", "stage:Production", "open")]
    for sentence in found[0]["unmet"]:
        assert sentence in messages[0]
    assert found[0]["url"] in messages[0]
    assert messages[0] == messages[1]
