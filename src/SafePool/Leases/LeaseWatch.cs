using System.Diagnostics;
using SafePool.Options;
using SafePool.Reports;
using SafePool.Telemetry;
using SafePool.Time;

namespace SafePool.Leases;

/// <summary>Decides what a rent writes down beside its line: the current activity, an exact time, a stack trace.</summary>
/// <remarks>
/// <para>
/// The hot path asks one question, <see cref="LooksAtEach"/>, and looks at every 64th lease of a place anyway: that one samples how long leases
/// are held, and finds out whether tracing is on. Where it is, every rent looks (an <see cref="Activity.Current"/> costs 10 to 20 ns).
/// </para>
/// <para>Thread-safety: all of it may be called from any thread. Counts that race lose a look or two, no more.</para>
/// </remarks>
internal sealed class LeaseWatch
{
    public const int SampleMask = 63;

    private const int LooksWithoutTrace = 64;
    private const int MaxReportedSites = 64;

    // For each tick of the coarse clock: a line that leaks may be a busy one, and a deep stack takes a tenth of a millisecond.
    private const int MaxAdaptiveCalls = 16;

    private readonly PoolClock _clock;
    private readonly PoolTelemetry _telemetry;
    private volatile LeakSettings _settings;
    private volatile bool _isOff;
    private volatile bool _times;
    private volatile RentSite[] _reported = [];
    private volatile bool _looksAtEach;
    private int _tracing;
    private long _callsTick;
    private int _callsTaken;

    public LeaseWatch(LeakSettings settings, PoolClock clock, PoolTelemetry telemetry)
    {
        _clock = clock;
        _telemetry = telemetry;
        _settings = settings;
        Apply(settings);
    }

    /// <summary>Nothing is written down but the time.</summary>
    public bool IsOff => _isOff;

    public bool LooksAtEach => _looksAtEach;

    public HoldTimes Holds { get; } = new();

    /// <summary>Each lease is timed, for a meter that listens.</summary>
    public bool TimesEach => _times;

    private bool LooksAtReported => _times || TakesStacks || (_settings.Tracking == LeaseTracking.Adaptive && _reported.Length > 0);

    private bool TakesStacks => _settings.Tracking == LeaseTracking.StackTrace || _settings.StackTraceSampling > 0;

    /// <summary>Changes what is written down from now on.</summary>
    public void Apply(LeakSettings settings)
    {
        _settings = settings;
        _isOff = settings.Tracking == LeaseTracking.Off;
        _looksAtEach = LooksAtReported;
    }

    /// <summary>Finds out whether a meter listens; called by the maintenance loop.</summary>
    public void LookForMeters()
    {
        if (Instruments.TimesLeases != _times)
        {
            _times = !_times;
            _looksAtEach = LooksAtReported;
        }
    }

    /// <summary>Notes that a lease was served at once.</summary>
    public void NoteServed() => _telemetry.Served();

    /// <summary>The activity of the caller, where tracing is on.</summary>
    public Activity? CurrentTrace()
    {
        var current = IsOff ? null : Activity.Current;
        if (current is not null)
        {
            _tracing = LooksWithoutTrace;
            _looksAtEach = true;
        }
        else if (_tracing > 0 && --_tracing == 0)
        {
            _looksAtEach = LooksAtReported;
        }

        return current;
    }

    /// <summary>The calls that led here, if the tracking level wants them for this line. Only from the caller's own stack.</summary>
    public StackTrace? CallsOf(in RentSite site) => WantsCalls(site) ? CallStack.Capture() : null;

    /// <summary>A lease that was rented here has been reported: from now on <see cref="LeaseTracking.Adaptive"/> wants to know more.</summary>
    public void NoteReported(in RentSite site)
    {
        if (_settings.Tracking != LeaseTracking.Adaptive || IsReported(site))
        {
            return;
        }

        // Two at once may lose one, which is then noted with its next report.
        var reported = _reported;
        if (reported.Length < MaxReportedSites)
        {
            _reported = [.. reported, site];
            _looksAtEach = true;
        }
    }

    public void NoteHold(Tenancy tenancy)
    {
        var held = _clock.Since(tenancy.RentedAt);
        Holds.Add(tenancy.Site, held);
        _telemetry.Used(held);
    }

    private bool WantsCalls(in RentSite site)
        => _settings.Tracking == LeaseTracking.StackTrace || IsSampled() || (_settings.Tracking == LeaseTracking.Adaptive && IsReported(site) && HasCallsLeft());

    private bool HasCallsLeft()
    {
        if (Volatile.Read(ref _callsTick) != _clock.Coarse)
        {
            Volatile.Write(ref _callsTick, _clock.Coarse);
            Volatile.Write(ref _callsTaken, 0);
        }

        return Interlocked.Increment(ref _callsTaken) <= MaxAdaptiveCalls;
    }

    private bool IsSampled()
#pragma warning disable CA5394 // A sample; nothing is secret about it.
        => _settings.StackTraceSampling > 0 && Random.Shared.NextDouble() < _settings.StackTraceSampling;
#pragma warning restore CA5394

    private bool IsReported(in RentSite site)
    {
        foreach (var reported in _reported)
        {
            if (reported.Line == site.Line && reported == site)
            {
                return true;
            }
        }

        return false;
    }
}
