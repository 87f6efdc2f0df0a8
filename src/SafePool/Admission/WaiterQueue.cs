namespace SafePool.Admission;

/// <summary>The line of waiters, in order of arrival. Every operation is O(1), leaving from the middle included.</summary>
/// <remarks>Not thread-safe: the gate's lock guards it.</remarks>
internal sealed class WaiterQueue
{
    private Waiter? _first;
    private Waiter? _last;

    public int Count { get; private set; }

    /// <summary>How many of them block a thread.</summary>
    public int BlockingCount { get; private set; }

    public Waiter? First => _first;

    public Waiter? Last => _last;

    public void Append(Waiter waiter)
    {
        waiter.Previous = _last;
        waiter.Next = null;
        if (_last is null)
        {
            _first = waiter;
        }
        else
        {
            _last.Next = waiter;
        }

        _last = waiter;
        Entered(waiter);
    }

    /// <summary>For a request that was admitted already and whose connection turned out to be gone: it was here before all others.</summary>
    public void Prepend(Waiter waiter)
    {
        waiter.Previous = null;
        waiter.Next = _first;
        if (_first is null)
        {
            _last = waiter;
        }
        else
        {
            _first.Previous = waiter;
        }

        _first = waiter;
        Entered(waiter);
    }

    public void Remove(Waiter waiter)
    {
        if (waiter.Previous is { } previous)
        {
            previous.Next = waiter.Next;
        }
        else
        {
            _first = waiter.Next;
        }

        if (waiter.Next is { } next)
        {
            next.Previous = waiter.Previous;
        }
        else
        {
            _last = waiter.Previous;
        }

        waiter.Next = waiter.Previous = null;
        waiter.IsQueued = false;
        Count--;
        BlockingCount -= waiter.IsBlocking ? 1 : 0;
    }

    /// <summary>Empties the line.</summary>
    /// <returns>Who stood in it, in order.</returns>
    public List<Waiter> RemoveAll()
    {
        var all = new List<Waiter>(Count);
        while (_first is { } first)
        {
            Remove(first);
            all.Add(first);
        }

        return all;
    }

    /// <summary>Those whose budget ends until <paramref name="deadline"/>.</summary>
    public IReadOnlyList<Waiter> Until(long deadline)
    {
        List<Waiter>? until = null;
        for (var waiter = _first; waiter is not null; waiter = waiter.Next)
        {
            if (waiter.Deadline <= deadline)
            {
                (until ??= []).Add(waiter);
            }
        }

        return until ?? (IReadOnlyList<Waiter>)[];
    }

    /// <summary>When the first of their budgets ends; null when nobody waits.</summary>
    public long? EarliestDeadline()
    {
        long? earliest = null;
        for (var waiter = _first; waiter is not null; waiter = waiter.Next)
        {
            earliest = waiter.Deadline >= earliest ? earliest : waiter.Deadline;
        }

        return earliest;
    }

    /// <summary>Something about each, in order, of the first <paramref name="most"/>.</summary>
    public T[] Select<T>(Func<Waiter, T> of, int most)
    {
        var selected = new T[Math.Min(Count, most)];
        var waiter = _first;
        for (var at = 0; at < selected.Length; at++)
        {
            selected[at] = of(waiter!);
            waiter = waiter!.Next;
        }

        return selected;
    }

    private void Entered(Waiter waiter)
    {
        waiter.IsQueued = true;
        Count++;
        BlockingCount += waiter.IsBlocking ? 1 : 0;
    }
}
