using System.Data.Common;

namespace SafePool.Samples.Exhaustion;

/// <summary>Counts what happened to the requests of one side. Requests may run at the same time.</summary>
internal sealed class Tally(Action<string> progress)
{
    /// <summary>Whoever fails so often in a row will go on failing, and waits the whole timeout each time.</summary>
    private const int PatienceInFailures = 2;

    private static readonly TimeSpan _progressPeriod = TimeSpan.FromMilliseconds(200);

    private readonly Lock _gate = new();
    private readonly List<string> _notes = [];
    private int _failedInARow;

    public int Served { get; private set; }

    public int Failed { get; private set; }

    public TimeSpan LongestWait { get; private set; }

    /// <summary>Gets what the first failure said.</summary>
    public string? Message { get; private set; }

    public IReadOnlyList<string> Notes => _notes;

    public void Note(string note) => _notes.Add(note);

    /// <summary>Runs a request. Only the database may refuse it; anything else is a bug of the scenario.</summary>
    public async Task RequestAsync(Func<Task> request)
    {
        DbException? failure = null;
        try
        {
            await request();
        }
        catch (DbException error)
        {
            failure = error;
        }

        Count(failure);
    }

    /// <summary>Runs requests one after the other, and stops when they keep failing.</summary>
    public async Task RepeatAsync(int times, Func<int, Task> request)
    {
        var shown = TimeProvider.System.GetTimestamp();
        for (var i = 1; i <= times; i++)
        {
            await RequestAsync(() => request(i));
            if (_failedInARow == PatienceInFailures)
            {
                Note($"Fails from request {i - PatienceInFailures + 1:N0} of {times:N0} on; stopped after {PatienceInFailures} failures in a row.");
                return;
            }

            if (TimeProvider.System.GetElapsedTime(shown) > _progressPeriod)
            {
                shown = TimeProvider.System.GetTimestamp();
                progress($"{i:N0} of {times:N0}");
            }
        }
    }

    /// <summary>Awaits what a request has to wait for, and remembers the longest.</summary>
    public async Task<T> WaitAsync<T>(Func<Task<T>> wait)
    {
        var begun = TimeProvider.System.GetTimestamp();
        try
        {
            return await wait();
        }
        finally
        {
            var waited = TimeProvider.System.GetElapsedTime(begun);
            lock (_gate)
            {
                LongestWait = waited > LongestWait ? waited : LongestWait;
            }
        }
    }

    private void Count(DbException? failure)
    {
        lock (_gate)
        {
            if (failure is null)
            {
                Served++;
                _failedInARow = 0;
                return;
            }

            Failed++;
            _failedInARow++;
            Message ??= failure.Message;
        }
    }
}
