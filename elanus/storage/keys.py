"""Where everything lies in the meta store and the object store. The one place that spells a key.

`catalog/` is what proxies and nodes follow; the rest belongs to coordinators and workers.
"""

CATALOG = "catalog/"
DATABASES = "catalog/database/"
COLLECTIONS = "catalog/collection/"
NAMES = "catalog/name/"
INDEXES = "catalog/index/"
LOADS = "catalog/load/"
VIEWS = "catalog/view/"
USERS = "catalog/user/"
ROLES = "catalog/role/"
PRIVILEGE_GROUPS = "catalog/privilege-group/"
MANIFESTS = "data/manifest/"
OWNERS = "data/owner/"
MARKS = "data/mark/"
LOGS = "data/log/"
JOBS = "job/"
COLLECTION_DROPS = "intent/drop-collection/"
PARTITION_DROPS = "intent/drop-partition/"
TRUNCATES = "intent/truncate/"
SCHEMA_CHANGES = "intent/schema-change/"
SESSIONS = "session/"
COORDINATORS = "coordinator/"
SEQUENCES = "sequence/"

SEGMENT_OBJECTS = "segments/"
DELETE_OBJECTS = "deletes/"
INDEX_OBJECTS = "indexes/"
MANIFEST_OBJECTS = "manifests/"
VIEW_OBJECTS = "views/"

FLUSHED = "o"
MADE = "j"


def database(database_id: int) -> str:
    return f"{DATABASES}{database_id}"


def collection(collection_id: int) -> str:
    return f"{COLLECTIONS}{collection_id}"


def name(database_id: int, collection_name: str) -> str:
    """Collections and aliases of a database share one name space."""
    return f"{NAMES}{database_id}/{collection_name}"


def index(collection_id: int, index_id: int) -> str:
    return f"{INDEXES}{collection_id}/{index_id}"


def load(collection_id: int) -> str:
    return f"{LOADS}{collection_id}"


def view(collection_id: int, channel_id: int, replica: int) -> str:
    return f"{VIEWS}{collection_id}/{channel_id}-{replica}"


def user(user_name: str) -> str:
    return f"{USERS}{user_name}"


def role(role_name: str) -> str:
    return f"{ROLES}{role_name}"


def privilege_group(group_name: str) -> str:
    return f"{PRIVILEGE_GROUPS}{group_name}"


def manifest(channel_id: int) -> str:
    return f"{MANIFESTS}{channel_id}"


def owner(channel_id: int) -> str:
    return f"{OWNERS}{channel_id}"


def mark(log: str) -> str:
    return f"{MARKS}{log}"


def log(log_name: str) -> str:
    return f"{LOGS}{log_name}"


def job(job_id: int) -> str:
    return f"{JOBS}{job_id}"


def collection_drop(collection_id: int) -> str:
    return f"{COLLECTION_DROPS}{collection_id}"


def partition_drop(partition_id: int) -> str:
    return f"{PARTITION_DROPS}{partition_id}"


def truncate(intent_id: int) -> str:
    return f"{TRUNCATES}{intent_id}"


def schema_change(collection_id: int) -> str:
    return f"{SCHEMA_CHANGES}{collection_id}"


def session(role: str, node_id: int) -> str:
    return f"{SESSIONS}{role}/{node_id}"


def coordinator(role: str) -> str:
    return f"{COORDINATORS}{role}"


def sequence(sequence_name: str) -> str:
    return f"{SEQUENCES}{sequence_name}"


def flushed_by(epoch: int) -> str:
    """The folder, in each of its channel's, of what one owner of the channel flushed."""
    return f"{FLUSHED}{epoch}"


def made_by(job_id: int) -> str:
    """The folder, in each of its channel's, of what one job made."""
    return f"{MADE}{job_id}"


def segment_prefix(collection_id: int, channel_id: int, producer: str, segment: str) -> str:
    """`producer`: `flushed_by` or `made_by`; it tells garbage collection whether an edit may still come."""
    return f"{SEGMENT_OBJECTS}{collection_id}/{channel_id}/{producer}/{segment}"


def delete_path(collection_id: int, channel_id: int, producer: str, file: str) -> str:
    return f"{DELETE_OBJECTS}{collection_id}/{channel_id}/{producer}/{file}"


def index_path(collection_id: int, channel_id: int, job_id: int, segment: str, index_id: int) -> str:
    return f"{INDEX_OBJECTS}{collection_id}/{channel_id}/{made_by(job_id)}/{segment}-{index_id}"


def manifest_path(channel_id: int, body: str) -> str:
    return f"{MANIFEST_OBJECTS}{channel_id}/{body}"


def view_path(channel_id: int, body: str) -> str:
    return f"{VIEW_OBJECTS}{channel_id}/{body}"
