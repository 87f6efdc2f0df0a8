using System.Diagnostics;
using SafePool.Leases;

namespace SafePool.Telemetry;

/// <summary>What one pool tells to meters and tracers, while there are any.</summary>
internal sealed class PoolTelemetry(PoolParts parts)
{
    public PoolParts Parts => parts;

    /// <summary>The name of the pool, made unique in the process when it is <see cref="LivePools.Reserve">named</see>.</summary>
    public string Name { get; set; } = "";

    /// <summary>Whether it may be observed.</summary>
    public bool IsShown { get; set; }

    public KeyValuePair<string, object?> Tag => new(Instruments.PoolName, Name);

    /// <summary>An open has ended.</summary>
    public void Opened(TimeSpan took, Exception? error = null) => Record(Instruments.CreateTime, took, error?.GetType());

    /// <summary>A rent was served at once.</summary>
    public void Served() => Record(Instruments.WaitTime, TimeSpan.Zero, error: null);

    /// <summary>A rent has ended that was not.</summary>
    /// <param name="begun">When it began.</param>
    /// <param name="hasWaited">For a lease, or an open: then it has a span too.</param>
    /// <param name="error">What it threw; null when it got a lease.</param>
    public void Rented(long begun, bool hasWaited, Exception? error = null)
    {
        if (Instruments.WaitTime.Enabled || IsTraced(hasWaited))
        {
            var took = parts.Clock.Since(begun);
            Record(Instruments.WaitTime, took, error?.GetType());
            if (IsTraced(hasWaited))
            {
                Trace(took, error);
            }
        }
    }

    /// <summary>The same for one that the pool has refused: its exception is needed only where it is traced.</summary>
    public void Refused(TimeSpan took, bool hasWaited, Refusal refusal)
    {
        Record(Instruments.WaitTime, took, refusal.ErrorType);
        if (IsTraced(hasWaited))
        {
            Trace(took, refusal.ToException());
        }
    }

    /// <summary>A lease has ended.</summary>
    public void Used(TimeSpan held) => Record(Instruments.UseTime, held, error: null);

    private static bool IsTraced(bool hasWaited) => hasWaited && Instruments.Source.HasListeners();

    private void Trace(TimeSpan took, Exception? error)
    {
        // Below what the caller does, and over already: so it begins in the past.
        using var span = Instruments.Source.StartActivity(
            "rent " + Name, ActivityKind.Internal, parentContext: default, [Tag], links: null, startTime: parts.Time.GetUtcNow() - took);
        if (error is not null)
        {
            span?.SetTag(Instruments.ErrorType, error.GetType().FullName);
            span?.SetStatus(ActivityStatusCode.Error, error.Message);
        }
    }

    private void Record(System.Diagnostics.Metrics.Histogram<double> histogram, TimeSpan time, Type? error)
    {
        if (!histogram.Enabled)
        {
            return;
        }

        if (error is null)
        {
            histogram.Record(time.TotalSeconds, Tag);
        }
        else
        {
            histogram.Record(time.TotalSeconds, Tag, new(Instruments.ErrorType, error.FullName));
        }
    }
}
