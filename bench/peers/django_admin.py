"""The Django admin's changelist over our ``session`` table: ``django_admin.py URL TENANT DIGITS N`` prints JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SCREENS = {
    "first page": "",
    "deep page": "p=4000",
    "outcome, common": "outcome__exact=SUCCESS",
    "outcome, rare": "outcome__exact=SESSION_BUSY",
    "state, rare": "state__exact=WITH_AGENT",
    "phone, rare part": "q={digits}",
}
COLUMNS = ("contact_phone", "contact_name", "state", "outcome", "skill", "last_user_message", "message_count")


def _configure(url: str) -> None:
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    parts = urlsplit(url)
    settings.configure(
        SECRET_KEY="bench",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.path.lstrip("/"),
                "USER": parts.username,
                "HOST": unquote(parse_qs(parts.query)["host"][0]),
                "OPTIONS": {"options": "-c search_path=django_peer,public -c jit=off"},
                "CONN_MAX_AGE": None,
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        STATIC_URL="/static/",
    )
    django.setup()


def _register(tenant: str) -> None:
    from django.contrib import admin  # noqa: PLC0415
    from django.db import models  # noqa: PLC0415

    fields: dict[str, Any] = {name: models.TextField() for name in COLUMNS if name != "message_count"}
    meta = type("Meta", (), {"managed": False, "db_table": "session", "app_label": "auth"})
    session = type(
        "LogSession",
        (models.Model,),
        {
            "__module__": __name__,
            "Meta": meta,
            "session_id": models.UUIDField(primary_key=True),
            "tenant_id": models.UUIDField(),
            "message_count": models.IntegerField(),
            "last_activity_at": models.DateTimeField(),
            **fields,
        },
    )

    class LogAdmin(admin.ModelAdmin):  # type: ignore[misc]
        list_display = COLUMNS
        list_filter = ("state", "outcome")
        search_fields = ("contact_phone",)
        ordering = ("-last_activity_at", "-session_id")
        list_per_page = 50

        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).filter(tenant_id=tenant)

    admin.site.register(session, LogAdmin)


def main() -> None:
    """Ask each screen N times, at most for a minute."""
    url, tenant, digits, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    _configure(url)
    from django.contrib import admin  # noqa: PLC0415
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS django_peer")
    call_command("migrate", verbosity=0)
    _register(tenant)
    globals()["urlpatterns"] = [path("admin/", admin.site.urls)]
    user, _ = User.objects.get_or_create(username="bench", defaults={"is_staff": True, "is_superuser": True})
    client = Client()
    client.force_login(user)
    taken: dict[str, list[float]] = {}
    for name, query in SCREENS.items():
        times: list[float] = []
        until = time.perf_counter() + 60
        while len(times) <= count and time.perf_counter() < until:
            begun = time.perf_counter()
            response = client.get(f"/admin/auth/logsession/?{query.format(digits=digits)}")
            times.append((time.perf_counter() - begun) * 1000)
            assert response.status_code == 200, (name, response.status_code)
        # The first one warms up.
        taken[name] = times[1:] or times
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA django_peer CASCADE")
    print(json.dumps(taken))


main()
