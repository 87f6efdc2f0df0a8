using System.Runtime.CompilerServices;

namespace SafePool.EntityFrameworkCore;

/// <summary>Leases of a context are labelled with the name of its type, so that messages tell them from others of the same line.</summary>
internal static class ContextLabels
{
    // Keyed weakly: an unloadable assembly may have declared the context.
    private static readonly ConditionalWeakTable<Type, RentOptions> _labels = [];

    public static RentOptions Of(Type context) => _labels.GetValue(context, static type => new RentOptions { Label = type.Name });
}
