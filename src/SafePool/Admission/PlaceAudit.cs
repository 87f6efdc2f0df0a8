using System.Diagnostics;

namespace SafePool.Admission;

internal enum PlaceState
{
    Vacant,
    Opening,
    Held,
    Idle,
    Quarantined,
}

/// <summary>Debug builds only: the state of every place, so that one given back twice is caught where it happens.</summary>
internal readonly struct PlaceAudit
{
#if DEBUG
    private readonly PlaceState[] _states;

    public PlaceAudit(int places) => _states = new PlaceState[places];
#else
    public PlaceAudit(int places) => _ = places;
#endif

    [Conditional("DEBUG")]
    public void Move(int place, PlaceState from, PlaceState to)
    {
#if DEBUG
        var found = Interlocked.CompareExchange(ref _states[place], to, from);
        Debug.Assert(found == from, $"Place {place} was {found}, not {from}, on its way to {to}.");
#endif
    }
}
