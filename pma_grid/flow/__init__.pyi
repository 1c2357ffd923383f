from . import observables as observables
from . import schedules as schedules
from . import theory as theory
