"Everything that you want at hand in a notebook: `from cptlib.all import *`."
from .data.text import *
from .data.packing import *
from .data.source import *
from .data.arrow_rows import *
from .data.schedule import *
from .data.order import *
from .data.streams import *
from .data.history import *
from .data.mixture import Mixture, checked_changes
from .data.loader import *
from .data.chats import *
from .data.look import Description, MixtureDescription, documents, scripts
from .data.duplicates import *
from .data.corruption import Masking, SpanCorruption
from .models.metrics import *
from .clunk.changepoint import *
from .clunk.confounds import *
from .clunk.detect import *
from .clunk.paired import *
from .clunk.logs import *
from .clunk.verdict import *
from .models.chunked import *
from .models.gpt import *
from .models.check import *
from .models.generate import *
from .models.self_replay import Predictions, own_chats # and Source.from_model
from .tasks.questions import *
from .tasks.sql import SQLQuestion, ask_sql, run_sql, same_answer, sql_databases, sql_questions
from .callback.core import *
from .callback.datamix import *
from .callback.detector import *
from .callback.accuracy import *
from .callback.live import *
from .callback.state import *
from .callback.checkpoint import *
from .callback.guard import *
from .callback.speed import *
from .optim import *
from .recipes import *
from .callback.control import *
from .callback.retain import *
from .callback.anchor import *
from .callback.keep import KeepPredictions, interpolate
from .report import *
from .inside.surface import Surface, loss_line, loss_surface, sharpness
from .inside.layers import directions, layer_similarity, movement, switch_back
from .callback.steps import AccumulateTargets, StepInBackward
from .callback.tasks import Samples, TaskEval
from .tasks.harness import HarnessTask
from .audit.watch import Audit, audit
from .audit.folder import audit_folder
from .callback.trackers import Track, Tracker
from .callback.averages import EMA, merge_checkpoints, put_weights
from .verbs import CPTLearner
from .learner import *
from .memorization import Facts, fact_base, fact_condition
from .demo import *
from .dial import replay_dial
from .transfer import Drift, transfer_matrix
from .cooldowns import compare_cooldowns
from .ladder import ladder
from .compare import *
