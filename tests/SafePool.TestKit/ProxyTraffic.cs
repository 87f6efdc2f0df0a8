namespace SafePool.TestKit;

/// <summary>What all connections of a proxy share: the counts, and how bytes pass at this moment.</summary>
internal sealed class ProxyTraffic
{
    private readonly Lock _gate = new();
    private volatile TaskCompletionSource? _stalled;
    private volatile CutRule? _cut;
    private volatile bool _isSilent;
    private long _delayTicks;
    private long _acceptDelayTicks;
    private readonly HashSet<ProxiedConnection> _open = [];
    private readonly List<long> _openedAt = [];
    private int _connecting;

    public int Open
    {
        get
        {
            lock (_gate)
            {
                return _open.Count;
            }
        }
    }

    public int Connecting => Volatile.Read(ref _connecting);

    public int PeakOpen { get; private set; }

    /// <summary>Which they were, the oldest first.</summary>
    public IReadOnlyList<string> AtPeak { get; private set; } = [];

    public int PeakConnecting { get; private set; }

    public int Total { get; private set; }

    public int CancelRequests { get; private set; }

    public long[] OpenedAt
    {
        get
        {
            lock (_gate)
            {
                return [.. _openedAt];
            }
        }
    }

    public TimeSpan Delay
    {
        get => new(Volatile.Read(ref _delayTicks));
        set => Volatile.Write(ref _delayTicks, value.Ticks);
    }

    public TimeSpan AcceptDelay
    {
        get => new(Volatile.Read(ref _acceptDelayTicks));
        set => Volatile.Write(ref _acceptDelayTicks, value.Ticks);
    }

    public CutRule? Cut
    {
        get => _cut;
        set => _cut = value;
    }

    public bool IsSilent
    {
        get => _isSilent;
        set => _isSilent = value;
    }

    public void Stall()
    {
        lock (_gate)
        {
            _stalled ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public void Resume()
    {
        lock (_gate)
        {
            _stalled?.SetResult();
            _stalled = null;
        }
    }

    public void ForgetPeaks()
    {
        lock (_gate)
        {
            PeakOpen = _open.Count(connection => connection.IsClientThere);
            PeakConnecting = _connecting;
        }
    }

    /// <summary>Holds back a chunk of bytes for as long as the delay and stalls say.</summary>
    public async ValueTask PassAsync(CancellationToken cancellationToken)
    {
        if (Delay is { Ticks: > 0 } delay)
        {
            await Task.Delay(delay, TimeProvider.System, cancellationToken);
        }

        while (_stalled is { } stalled)
        {
            await stalled.Task.WaitAsync(cancellationToken);
        }
    }

    public void CountOpened(ProxiedConnection connection)
    {
        lock (_gate)
        {
            Total++;
            connection.CountedAt = TimeProvider.System.GetTimestamp();
            _openedAt.Add(connection.CountedAt);
            _open.Add(connection);

            // Who has closed its socket counts no more, also while the proxy has yet to read that far.
            var there = _open.Where(other => other.IsClientThere).ToArray();
            if (there.Length > PeakOpen)
            {
                PeakOpen = there.Length;
                AtPeak = [.. there.OrderBy(other => other.CountedAt).Select(other => other.Describe(connection.CountedAt))];
            }

            PeakConnecting = Math.Max(PeakConnecting, ++_connecting);
        }
    }

    public void CountReady()
    {
        lock (_gate)
        {
            _connecting--;
        }
    }

    public void CountClosed(ProxiedConnection connection, bool wasReady)
    {
        lock (_gate)
        {
            _open.Remove(connection);
            _connecting -= wasReady ? 0 : 1;
        }
    }

    public void CountCancelRequest()
    {
        lock (_gate)
        {
            CancelRequests++;
        }
    }

    /// <summary>Takes back a connection that asked for encryption first and then turned out to be a cancel request.</summary>
    public void RecountAsCancelRequest(ProxiedConnection connection)
    {
        lock (_gate)
        {
            Total--;
            _openedAt.Remove(connection.CountedAt);
            _open.Remove(connection);
            _connecting--;
            CancelRequests++;
        }
    }
}
