using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Reports;

namespace SafePool.Leaks;

/// <summary>Says what was found out about leases: to the log, to whoever listens, to the flight recorder and to the totals.</summary>
/// <remarks>
/// Listeners are called one report after the other on a thread-pool thread, never on the thread of a rent or a return and never while anything is
/// held; one that throws is logged and the others are called all the same.
/// </remarks>
internal sealed class LeakReports(string poolName, ILogger logger, LeaseWatch watch, FlightRecorder recorder)
{
    private readonly ConcurrentQueue<LeakReport> _undelivered = new();
    private int _isDelivering;
    private long _total;
    private long _reclaimed;

    public event Action<LeakReport>? Reported;

    /// <summary>Every lease that was reported as a leak, once.</summary>
    public long Total => Volatile.Read(ref _total);

    /// <summary>Every lease that was taken back, lost or abandoned.</summary>
    public long Reclaimed => Volatile.Read(ref _reclaimed);

    public void Say(LeakKind kind, LeaseSlot slot, LeaseHolder holder)
    {
        var report = new LeakReport(kind, poolName, holder);
        recorder.Record(EventOf(kind), slot.Place, holder.LeaseId, slot.Site);
        if (kind == LeakKind.ReturnedAfterAll)
        {
            Log.ReturnedAfterAll(logger, report.ToString());
        }
        else
        {
            Count(kind, slot, holder.LeaseId);
            watch.NoteReported(slot.Site);
            Log.Leak(logger, report.ToString());
        }

        if (Reported is not null)
        {
            _undelivered.Enqueue(report);
            Deliver();
        }
    }

    /// <summary>A lease is held for long, but something runs on it.</summary>
    public void MentionBusy(LeaseHolder holder) => Log.Busy(logger, poolName, holder.ToString(), LeakSentences.Doing(holder));

    private void Count(LeakKind kind, LeaseSlot slot, long leaseId)
    {
        // What was announced as overdue before has been counted then.
        var wasAnnounced = kind != LeakKind.Overdue && slot.Report is { IsAnnounced: true } announced && announced.LeaseId == leaseId;
        if (!wasAnnounced)
        {
            Interlocked.Increment(ref _total);
        }

        if (kind is LeakKind.Dropped or LeakKind.Abandoned)
        {
            Interlocked.Increment(ref _reclaimed);
        }
    }

    private void Deliver()
    {
        if (Interlocked.Exchange(ref _isDelivering, 1) == 0)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static reports => reports.DeliverAll(), this, preferLocal: false);
        }
    }

    private void DeliverAll()
    {
        while (_undelivered.TryDequeue(out var report))
        {
            foreach (var listener in Delegate.EnumerateInvocationList(Reported))
            {
                Tell(listener, report);
            }
        }

        Volatile.Write(ref _isDelivering, 0);
        if (!_undelivered.IsEmpty)
        {
            // One came between the last look and the mark.
            Deliver();
        }
    }

    private void Tell(Action<LeakReport> listener, LeakReport report)
    {
        try
        {
            listener(report);
        }
        catch (Exception error)
        {
            Log.ListenerFailed(logger, poolName, error);
        }
    }

    private static FlightEventKind EventOf(LeakKind kind) => kind switch
    {
        LeakKind.Overdue => FlightEventKind.Overdue,
        LeakKind.Dropped => FlightEventKind.Dropped,
        LeakKind.Abandoned => FlightEventKind.Abandoned,
        _ => FlightEventKind.ReturnedAfterAll,
    };
}
