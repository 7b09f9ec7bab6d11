"""The doctor's calls, for admins."""

from lockgate.server.calls import Calling, House
from lockgate.server.once import OnceRouter
from lockgate.wire.doctor import DoctorView, UnexplainedView
from lockgate.workflow import doctor
from lockgate.workflow.doctor import Findings

router = OnceRouter()


@router.get("/doctor")
def examine(house: House, caller: Calling) -> DoctorView:
    """Compare the guard in the database with what it should be, and list what no decision explains."""
    return _shown(doctor.examine(house, caller))


@router.post("/doctor/repair")
def repair(house: House, caller: Calling) -> DoctorView:
    """Put the guard back as it should be, and say what is still to be found."""
    return _shown(doctor.repair(house, caller))


def _shown(found: Findings) -> DoctorView:
    return DoctorView(
        ok=not (found.guard or found.access or found.checkpoints or found.secrets),
        fingerprint=found.fingerprint,
        guard=list(found.guard),
        access=list(found.access),
        notes=list(found.notes),
        pointers=[
            UnexplainedView(
                workspace=one.workspace,
                model=one.model,
                version=str(one.version),
                target=one.target,
                since=one.since,
                why=one.why,
            )
            for one in found.pointers
        ],
        checkpoints=list(found.checkpoints),
        secrets=list(found.secrets),
    )
