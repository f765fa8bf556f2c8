#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_objects
short_description: Roles, databases, schemas, extensions, privileges and first SQL of a PostgreSQL server, in one go
version_added: "1.0.0"
description:
  - Compares all roles and databases that are asked for with the server, and what is within the databases, and changes what differs.
  - Everything that cannot be right is refused before anything is changed, such as a privilege for a role that does not exist.
  - Check mode says in full what would be done, also within databases that do not exist yet.
  - Passwords never reach the server. It gets verifiers (SCRAM-SHA-256) that are made by the module, and writes none of them into its log. A password is
    compared with the verifier that the server keeps, so one that is unchanged is no change.
  - What is taken out of the lists stays. O(roles[].state=absent) and its like take it away.
options:
  roles:
    description: Roles of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      state:
        description:
          - V(absent) drops the role, and takes its privileges from it in each database. A role that owns something is refused.
        type: str
        default: present
        choices: [present, absent]
      password:
        description: Its password, or a verifier as the server keeps it (C(SCRAM-SHA-256$...)). Without it the password is left alone.
        type: str
      role_attr_flags:
        description:
          - Attributes, such as V(CREATEDB,NOINHERIT). Those that are not named are left alone. A role that is made here has V(LOGIN) unless V(NOLOGIN) is
            said.
        type: list
        elements: str
        default: []
      conn_limit:
        description: How many connections it may have at once. V(-1) means any number.
        type: int
      expires:
        description: Until when its password is valid, such as V(2030-12-31 23:59:59+00), or V(infinity).
        type: str
      configuration:
        description:
          - Parameters that its sessions begin with, such as C(statement_timeout). All others that the role has are reset.
          - Those that are lists of names, such as C(search_path), may be given as lists.
        type: dict
      member_of:
        description: Roles whose rights it has too. Other memberships of it are ended. Without it they are left alone.
        type: list
        elements: str
  databases:
    description: Databases of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      state:
        description: V(absent) drops the database with all that is in it, and ends the sessions that use it.
        type: str
        default: present
        choices: [present, absent]
      force:
        description: The name of the database once more, without which it is not dropped.
        type: str
        default: ''
      owner:
        description: Role that owns it.
        type: str
      encoding:
        description: Its encoding. It cannot be changed later.
        type: str
      lc_collate:
        description: Its collation. It cannot be changed later.
        type: str
      lc_ctype:
        description: Its classes of characters. It cannot be changed later.
        type: str
      template:
        description: Database that it is copied from when it is made. The default is C(template1), or C(template0) with an encoding or a locale.
        type: str
      conn_limit:
        description: How many connections it may have at once. V(-1) means any number.
        type: int
      configuration:
        description: Parameters that sessions in it begin with. All others that the database has are reset.
        type: dict
      public_connect:
        description: V(false) takes from everybody the right to connect to it and to make temporary tables. Nothing gives it back but O(databases[].privileges).
        type: bool
      public_create:
        description: Unless V(true), the right to make objects in the schema C(public) is taken from everybody, as new databases have it since PostgreSQL 15.
        type: bool
        default: false
      schemas:
        description: Schemas of the database.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the schema.
            type: str
            required: true
          owner:
            description: Role that owns it. Without it, a new one belongs to the login.
            type: str
          state:
            description: V(absent) drops the schema. One that is not empty is refused.
            type: str
            default: present
            choices: [present, absent]
      extensions:
        description:
          - Extensions of the database, by name, or as a dictionary of C(name), C(version) (V(latest) is the newest that the server has), C(schema) and C(state)
            (V(present) or V(absent)).
          - What an extension needs is made with it.
        type: list
        elements: raw
        default: []
      privileges:
        description:
          - Privileges in the database. Those on tables, sequences and functions are granted after O(databases[].init_sql) was run.
        type: list
        elements: dict
        default: []
        suboptions:
          roles:
            description: Whose privileges. V(PUBLIC) means everybody.
            type: list
            elements: str
            required: true
          privs:
            description: The privileges, such as V(SELECT), or V(ALL).
            type: list
            elements: str
            required: true
          type:
            description: Kind of the objects. Views are tables here, and procedures are functions.
            type: str
            default: table
            choices: [database, schema, table, sequence, function]
          schema:
            description: Schema of the objects.
            type: str
            default: public
          objs:
            description:
              - Names of the objects. Without it they are all that the schema has now; with a O(databases[].privileges[].type) of V(schema) it is the schema
                itself.
              - A function is named with its arguments, such as V(total(integer)), or by its name alone if there is only one.
            type: list
            elements: str
            default: []
          grant_option:
            description: Whether the role may grant them on.
            type: bool
            default: false
          state:
            description: V(absent) revokes them.
            type: str
            default: present
            choices: [present, absent]
      default_privileges:
        description: Privileges on objects that are made later.
        type: list
        elements: dict
        default: []
        suboptions:
          owner:
            description: Role that makes the objects. The default is the owner of the database.
            type: str
          roles:
            description: Whose privileges. V(PUBLIC) means everybody.
            type: list
            elements: str
            required: true
          privs:
            description: The privileges, such as V(SELECT), or V(ALL).
            type: list
            elements: str
            required: true
          type:
            description: Kind of the objects.
            type: str
            default: table
            choices: [schema, table, sequence, function]
          schema:
            description: Schema that the objects are made in. Without it, any.
            type: str
          state:
            description: V(absent) revokes them.
            type: str
            default: present
            choices: [present, absent]
      init_sql:
        description:
          - SQL that is run once in the database, in this order. Each runs in one transaction and is recorded in it, by its name and the SHA-256 of its text, in
            the table C(mainstay.init_sql) of the database.
          - When a statement fails, nothing of this SQL is applied, and the error names the statement.
          - It is no place for secrets, because statements are shown when they fail and are written into the server's log where that is switched on.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name that it is recorded with.
            type: str
            required: true
          sql:
            description: The statements. They may not begin or end a transaction, and C(COPY FROM STDIN) cannot be used.
            type: str
            required: true
          role:
            description: Role that they are run as. The default is the owner of the database.
            type: str
          always:
            description:
              - Whether it is run again whenever its text has changed, for what replaces itself, such as C(CREATE OR REPLACE FUNCTION).
              - Without it, another text of one that was run is refused.
            type: bool
            default: false
notes:
  - The login has to be a superuser's, since nobody else may see verifiers. It works on the primary only.
  - Roles and their settings are changed in one transaction, and so is what is within one database, apart from O(databases[].init_sql).
    A run that fails in between is finished by the next one.
  - In check mode, objects that O(databases[].init_sql) is still to make are not known, so what is granted on all objects of a schema is said for those that are
    there.
seealso:
  - module: community.postgresql.postgresql_user
  - module: community.postgresql.postgresql_privs
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.postgres
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Keep an application's database
  mainstay.ops.pg_objects:
    login_unix_socket: /var/run/postgresql
    roles:
      - name: shop_owner
        role_attr_flags: [NOLOGIN]
      - name: shop_reader
        role_attr_flags: [NOLOGIN]
      - name: shop
        password: "{{ shop_password }}"
        member_of: [shop_owner]
        conn_limit: 50
        configuration: {role: shop_owner, statement_timeout: 30s}
      - name: report
        password: "{{ report_password }}"
        member_of: [shop_reader]
    databases:
      - name: shop
        owner: shop_owner
        public_connect: false
        schemas:
          - {name: app, owner: shop_owner}
        extensions: [pg_trgm, {name: hstore, schema: app}]
        privileges:
          - {roles: [shop_reader], privs: [CONNECT], type: database}
          - {roles: [shop_reader], privs: [USAGE], type: schema, schema: app}
          - {roles: [shop_reader], privs: [SELECT], schema: app}
        default_privileges:
          - {roles: [shop_reader], privs: [SELECT], schema: app}
        init_sql:
          - name: first_tables
            sql: "{{ lookup('ansible.builtin.file', 'first_tables.sql') }}"
  become: true
  become_user: postgres

- name: Say what would be done
  mainstay.ops.pg_objects:
    login_host: db.example.com
    login_password: "{{ postgres_password }}"
    ssl_mode: verify-full
    databases:
      - {name: shop_old, state: absent, force: shop_old}
  check_mode: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: [make the role shop, set the password of the role shop, "make the database shop, owned by shop_owner"]
diff:
  description: What was changed, before and after, line by line. A password is never part of it.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import postgres_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.run import run
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import PRIVILEGES

_TEXT = {"type": "str"}
_NAME = {"type": "str", "required": True}
_COUNT = {"type": "int"}
_STATE = {"type": "str", "default": "present", "choices": ["present", "absent"]}
_WORDS = {"type": "list", "elements": "str", "default": []}
_NEEDED = {"type": "list", "elements": "str", "required": True}
_NO = {"type": "bool", "default": False}


def _dicts(options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def role_spec() -> dict[str, t.Any]:
    """Return the options of a role."""
    return {
        "name": _NAME,
        "state": _STATE,
        "password": {"type": "str", "no_log": True},
        "role_attr_flags": _WORDS,
        "conn_limit": _COUNT,
        "expires": _TEXT,
        "configuration": {"type": "dict"},
        "member_of": {"type": "list", "elements": "str"},
    }


def database_spec() -> dict[str, t.Any]:
    """Return the options of a database."""
    grant = {"roles": _NEEDED, "privs": _NEEDED, "state": _STATE}
    kinds = {"type": "str", "default": "table", "choices": list(PRIVILEGES)}
    later = {**kinds, "choices": [kind for kind in PRIVILEGES if kind != "database"]}
    schema = {"type": "str", "default": "public"}
    return {
        "name": _NAME,
        "state": _STATE,
        "force": {"type": "str", "default": ""},
        **{name: _TEXT for name in ("owner", "encoding", "lc_collate", "lc_ctype", "template")},
        "conn_limit": _COUNT,
        "configuration": {"type": "dict"},
        "public_connect": {"type": "bool"},
        "public_create": _NO,
        "schemas": _dicts({"name": _NAME, "owner": _TEXT, "state": _STATE}),
        "extensions": {"type": "list", "elements": "raw", "default": []},
        "privileges": _dicts({**grant, "type": kinds, "schema": schema, "objs": _WORDS, "grant_option": _NO}),
        "default_privileges": _dicts({**grant, "owner": _TEXT, "type": later, "schema": _TEXT}),
        "init_sql": _dicts({"name": _NAME, "sql": _NAME, "role": _TEXT, "always": _NO}),
    }


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {**postgres_argument_spec(), "roles": _dicts(role_spec()), "databases": _dicts(database_spec())}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
