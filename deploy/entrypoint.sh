#!/bin/sh
# Takes secrets from files: for each variable NAME_FILE, such as PGPASSWORD_FILE or LOCKGATE_ADMIN_TOKEN_FILE, sets NAME
# to what the file holds. Files don't show in `docker inspect`, nor in what children inherit by accident.
set -eu
for name in PGPASSWORD LOCKGATE_ADMIN_TOKEN LOCKGATE_SECRET_KEY MLFLOW_BACKEND_STORE_URI MLFLOW_REGISTRY_STORE_URI \
  AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  if [ ! -r "$file" ]; then
    echo "${name}_FILE names $file, which can't be read. Put the secret there, readable by user $(id -u)." >&2
    exit 1
  fi
  value=$(cat "$file")
  if [ -z "$value" ]; then
    echo "${name}_FILE names $file, which is empty. Put the secret there." >&2
    exit 1
  fi
  export "$name=$value"
  unset "${name}_FILE"
done
exec "$@"
