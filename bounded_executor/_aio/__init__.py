"""Coroutines: ``asubmit``, ``amap`` and ``async with``. Only this package imports asyncio."""
