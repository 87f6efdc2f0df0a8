using System.Diagnostics;

namespace SafePool.Admission;

internal enum PlaceState : byte
{
    Vacant,
    Opening,
    Held,
    Idle,
    Watching,
    Quarantined,
}

/// <summary>The state of every place, kept in debug builds only, so that one given back twice is caught where it happens.</summary>
internal sealed class PlaceAudit(int places)
{
    private readonly PlaceState[] _states = new PlaceState[places];

    [Conditional("DEBUG")]
    public void Move(int place, PlaceState from, PlaceState to)
    {
        var found = Interlocked.CompareExchange(ref _states[place], to, from);
        Debug.Assert(found == from, $"Place {place} was {found}, not {from}, on its way to {to}.");
    }
}
