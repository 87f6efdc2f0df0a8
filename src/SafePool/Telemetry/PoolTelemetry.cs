using System.Diagnostics;

namespace SafePool.Telemetry;

/// <summary>What one pool tells to meters and tracers, while there are any.</summary>
internal sealed class PoolTelemetry(PoolParts parts)
{
    public PoolParts Parts => parts;

    /// <summary>The name of the pool, made unique in the process when it is <see cref="LivePools.Add">listed</see>.</summary>
    public string Name { get; set; } = "";

    public KeyValuePair<string, object?> Tag => new(Instruments.PoolName, Name);

    /// <summary>An open has ended.</summary>
    public void Opened(TimeSpan took, Exception? error = null) => Record(Instruments.CreateTime, took, error);

    /// <summary>A rent has ended.</summary>
    public void Waited(TimeSpan waited, Exception? error = null) => Record(Instruments.WaitTime, waited, error);

    /// <summary>A lease has ended.</summary>
    public void Used(TimeSpan held) => Record(Instruments.UseTime, held, error: null);

    /// <summary>A rent that has waited, or for which a connection was opened, has ended: a span with that beginning, below what the caller does.</summary>
    public void Trace(TimeSpan waited, Exception? error)
    {
        if (!Instruments.Source.HasListeners())
        {
            return;
        }

        using var span = Instruments.Source.StartActivity(
            "rent " + Name, ActivityKind.Internal, parentContext: default, [Tag], links: null, startTime: parts.Time.GetUtcNow() - waited);
        if (error is not null)
        {
            span?.SetTag(Instruments.ErrorType, error.GetType().FullName);
            span?.SetStatus(ActivityStatusCode.Error, error.Message);
        }
    }

    private void Record(System.Diagnostics.Metrics.Histogram<double> histogram, TimeSpan time, Exception? error)
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
            histogram.Record(time.TotalSeconds, Tag, new(Instruments.ErrorType, error.GetType().FullName));
        }
    }
}
