"""Email templates: what an administrator writes is checked, filled in and made safe to send.

:mod:`~dragoman.rendering.templates` and :mod:`~dragoman.rendering.values` describe templates and check their values,
:mod:`~dragoman.rendering.renderer` renders them. Rendering happens in a child process
(:mod:`~dragoman.rendering.child`), so that no template can hold up or break the process that asks for it.
Decision page: 0057.
"""
