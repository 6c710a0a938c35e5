"""A plugin-based domain adaptation engine."""

from isthmus.dataset import Dataset as Dataset
from isthmus.dataset import Location as Location
from isthmus.domain import Domain as Domain
from isthmus.domain import Labelled as Labelled
from isthmus.domain import Schema as Schema
from isthmus.domain import Task as Task
from isthmus.errors import BadInput as BadInput
from isthmus.errors import IsthmusError as IsthmusError
from isthmus.errors import NotExportable as NotExportable
from isthmus.errors import PluginError as PluginError
from isthmus.errors import RunFailed as RunFailed
from isthmus.errors import UnsupportedTask as UnsupportedTask
from isthmus.evaluator import Evaluator as Evaluator
from isthmus.evaluator import Evidence as Evidence
from isthmus.evaluator import Recipe as Recipe
from isthmus.graph import Graph as Graph
from isthmus.graph import Relation as Relation
from isthmus.hookspecs import hookimpl as hookimpl
from isthmus.strategy import Adapted as Adapted
from isthmus.strategy import Needs as Needs
from isthmus.strategy import Run as Run
from isthmus.strategy import Strategy as Strategy
from isthmus.tracking import Tracker as Tracker

__version__ = "0.1.0"
